//! GraphQL: everything that an operator asks and does, over the ports of Master API.

mod access;
mod inputs;
mod mutation;
mod nodes;
mod paging;
mod query;
mod schemas;

use async_graphql::{EmptySubscription, Schema};
use contract::{master_api::MasterApi, registry::SchemaRegistry};
use std::sync::Arc;

pub use access::error;

/// The whole schema.
pub type ApiSchema = Schema<query::Query, mutation::Mutation, EmptySubscription>;

/// Deepest nesting of a query.
const DEPTH_MAX: usize = 12;
/// Most fields of a query, with pages counted by their length.
const COMPLEXITY_MAX: usize = 20_000;

/// The schema over `master_api` and the `registry`, if this process knows one. Each request must
/// carry a [`contract::access::Principal`] as data.
pub fn schema(
    master_api: Arc<dyn MasterApi>,
    registry: Option<Arc<dyn SchemaRegistry>>,
) -> ApiSchema {
    Schema::build(query::Query::default(), mutation::Mutation::default(), EmptySubscription)
        .data(master_api)
        .data(registry)
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .finish()
}
