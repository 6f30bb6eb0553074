//! GraphQL: everything that an operator asks and does, over the ports of Master API.

mod access;
mod budget;
mod document;
mod events;
mod exchanges;
mod filters;
mod inputs;
mod key_uses;
mod live;
mod log;
mod mutation;
mod nodes;
mod once;
mod paging;
mod past;
mod query;
mod rules;
mod schema_sets;
mod retention;
mod replays;
mod schemas;
mod settings;
mod subscriptions;
mod sending;
mod users;

use async_graphql::parser::types::OperationType;
use async_graphql::{
    Data, Executor, Pos, Request, Response, Schema, ServerError,
    futures_util::{StreamExt, future, stream, stream::BoxStream},
};
use contract::{
    access::Principal, authenticate::Holder, broker::EventBroker, master_api::MasterApi,
    registry::SchemaRegistry,
};
use std::{
    any::{Any, TypeId},
    sync::Arc,
};

pub use access::{code, error, refusal};

/// The whole schema.
pub type ApiSchema = Schema<query::Query, once::Once, live::Live>;

/// Deepest nesting of a query: the introspection that clients send needs 15.
const DEPTH_MAX: usize = 16;
/// Most fields of a query, with pages counted by their length.
const COMPLEXITY_MAX: usize = 20_000;

/// The schema over `master_api`; ask it by [`answer`]. Without a `broker`, no event can be
/// resubmitted; without a `registry`, no schema can be published.
pub fn schema(
    master_api: Arc<dyn MasterApi>,
    broker: Option<Arc<dyn EventBroker>>,
    registry: Option<Arc<dyn SchemaRegistry>>,
) -> ApiSchema {
    Schema::build(query::Query::default(), once::Once::default(), live::Live)
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

/// What a request carries and what lives until it is answered.
#[derive(Clone)]
pub struct Kept(pub Arc<dyn Any + Send + Sync>);

/// The schema for a connection that asks many things. The caller is in the connection's data.
#[derive(Clone)]
pub struct Connected(pub ApiSchema);

impl Executor for Connected {
    async fn execute(&self, request: Request) -> Response {
        match answer(&self.0, None, request).await {
            Ok(response) => response,
            Err(refusal) => Response::from_errors(vec![refusal]),
        }
    }

    fn execute_stream(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        if let Err(refusal) = document::read(&mut request) {
            let refused = Response::from_errors(vec![refusal]);
            return stream::once(future::ready(refused)).boxed();
        }
        let follows = request.parsed_query().is_ok_and(|document| {
            let mut all = document.operations.iter();
            all.all(|(_, operation)| operation.node.ty == OperationType::Subscription)
        });
        let budget = if follows { budget::Budget::endless() } else { budget::Budget::default() };
        let session = session.unwrap_or_default();
        let holder: Option<Holder> = of_data(&session);
        let kept: Option<Kept> = of_data(&request.data);
        let answers = self.0.execute_stream_with_session_data(request.data(budget), session);
        let answers = stream::once(admitted(holder)).flat_map({
            let mut answers = Some(answers.boxed());
            move |refused| match refused {
                Some(refused) => stream::once(future::ready(refused)).boxed(),
                None => answers.take().unwrap_or_else(|| stream::empty().boxed()),
            }
        });
        let coded = move |mut response: Response| {
            let _until_answered = &kept;
            response.errors.iter_mut().for_each(access::coded);
            response
        };
        answers.map(coded).boxed()
    }
}

fn of_data<T: Clone + 'static>(data: &Data) -> Option<T> {
    data.get(&TypeId::of::<T>())?.downcast_ref().cloned()
}

/// The refusal of a holder whose token is good no more.
async fn admitted(holder: Option<Holder>) -> Option<Response> {
    let refusal = holder?.admitted().await.err()?;
    let refusal = error(&refusal).into_server_error(Pos::default());
    Some(Response::from_errors(vec![refusal]))
}
