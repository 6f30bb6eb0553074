//! GraphQL: everything that an operator asks and does, over the ports of Master API.

mod access;
mod budget;
mod document;
mod events;
mod exchanges;
mod inputs;
mod key_uses;
mod log;
mod mutation;
mod nodes;
mod paging;
mod query;
mod schema_sets;
mod retention;
mod schemas;
mod settings;
mod users;

use async_graphql::{EmptySubscription, Request, Response, Schema, ServerError};
use contract::{
    access::Principal, broker::EventBroker, master_api::MasterApi, registry::SchemaRegistry,
};
use std::sync::Arc;

pub use access::{code, error, refusal};

/// The whole schema.
pub type ApiSchema = Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// Deepest nesting of a query.
const DEPTH_MAX: usize = 12;
/// Most fields of a query, with pages counted by their length.
const COMPLEXITY_MAX: usize = 20_000;

/// The schema over `master_api`; ask it by [`answer`]. Without a `broker`, no event can be
/// resubmitted; without a `registry`, no schema can be published.
pub fn schema(
    master_api: Arc<dyn MasterApi>,
    broker: Option<Arc<dyn EventBroker>>,
    registry: Option<Arc<dyn SchemaRegistry>>,
) -> ApiSchema {
    Schema::build(query::Query::default(), mutation::Mutation::default(), EmptySubscription)
        .data(master_api)
        .data(broker)
        .data(registry)
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .finish()
}

/// Answers a request of `principal`. Every error carries a code. An error of its own: the request
/// was not carried out at all.
pub async fn answer(
    schema: &ApiSchema,
    principal: Option<Principal>,
    mut request: Request,
) -> Result<Response, ServerError> {
    document::read(&mut request)?;
    request = request.data(budget::Budget::default());
    if let Some(principal) = principal {
        request = request.data(principal);
    }
    let mut response = schema.execute(request).await;
    response.errors.iter_mut().for_each(access::coded);
    Ok(response)
}
