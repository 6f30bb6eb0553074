//! GraphQL: everything that an operator asks and does, over the ports of Master API.

mod access;
mod inputs;
mod mutation;
mod nodes;
mod paging;
mod query;

use async_graphql::{EmptySubscription, Schema};
use contract::{broker::EventBroker, master_api::MasterApi};
use std::sync::Arc;

pub use access::error;

/// The whole schema.
pub type ApiSchema = Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// Deepest nesting of a query.
const DEPTH_MAX: usize = 12;
/// Most fields of a query, with pages counted by their length.
const COMPLEXITY_MAX: usize = 20_000;

/// The schema over `master_api`. Each request must carry a
/// [`contract::access::Principal`] as data.
/// Without a `broker`, no event can be resubmitted.
pub fn schema(master_api: Arc<dyn MasterApi>, broker: Option<Arc<dyn EventBroker>>) -> ApiSchema {
    let schema = Schema::build(query::Query, mutation::Mutation, EmptySubscription);
    let schema = match broker {
        Some(broker) => schema.data(broker),
        None => schema,
    };
    schema.data(master_api).limit_depth(DEPTH_MAX).limit_complexity(COMPLEXITY_MAX).finish()
}
