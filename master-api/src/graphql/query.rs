//! Questions.

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, invalid, master_api, rules, sees},
    budget::{LIST, NODE_BYTES, listed, spend},
    events::EventNode,
    filters::{DeliveryFilterInput, EventFilterInput},
    key_uses::KeyUses,
    log::LogQueries,
    nodes::{DeliveryNode, KeyNode, SourceNode, StatsNode, SubscriptionNode},
    paging::{Connection, request},
    past::PastQuery,
    replays::ReplayQuery,
    retention::RetentionQuery,
    rules::{BackoffNode, EventTypeNode, SubscriberNode},
    schemas::SchemaQuery,
    settings::SettingQueries,
    users::UserQuery,
};
use async_graphql::{Context, ID, MergedObject, Object};
use contract::{
    access::{Access, Noun},
    delivery::Delivery,
    event::EventState,
    id::{DeliveryId, EventId},
    limits,
    master_api::{EventFilter, PageRequest},
};

/// Rows of a page when none are asked for.
const PAGE: usize = limits::PAGE_DEFAULT as usize;

/// Questions.
#[derive(Debug, Default, MergedObject)]
pub struct Query(
    TrafficQuery,
    SchemaQuery,
    LogQueries,
    PastQuery,
    RetentionQuery,
    ReplayQuery,
    UserQuery,
    SettingQueries,
);

/// About events, deliveries, and who sends and receives them.
#[derive(Debug, Default)]
pub(super) struct TrafficQuery;

#[Object]
impl TrafficQuery {
    /// Version of the server.
    async fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// Events, newest first. A page may be short while it says that there is another one.
    #[graphql(complexity = "page(first) * child_complexity")]
    async fn events(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<EventFilterInput>,
    ) -> Result<Connection<EventNode>> {
        let filter = filter.unwrap_or_default().try_into()?;
        list_events(context, filter, request(first, after)?).await
    }

    /// Events that were kept aside, newest first.
    #[graphql(complexity = "page(first) * child_complexity")]
    async fn quarantine(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<EventFilterInput>,
    ) -> Result<Connection<EventNode>> {
        let filter: EventFilter = filter.unwrap_or_default().try_into()?;
        let filter = EventFilter { state: Some(EventState::Quarantined), ..filter };
        list_events(context, filter, request(first, after)?).await
    }

    /// An event by id.
    async fn event(&self, context: &Context<'_>, id: ID) -> Result<Option<EventNode>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let id: EventId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(master_api(context)?.event(id).await.or_show()?.map(EventNode::from))
    }

    /// Deliveries, newest first. A page may be short while it says that there is another one.
    #[graphql(complexity = "page(first) * child_complexity")]
    async fn deliveries(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<DeliveryFilterInput>,
    ) -> Result<Connection<DeliveryNode>> {
        list_deliveries(context, filter.unwrap_or_default(), request(first, after)?).await
    }

    /// Deliveries that were given up, newest first.
    #[graphql(complexity = "page(first) * child_complexity")]
    async fn dead_letters(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<DeliveryFilterInput>,
    ) -> Result<Connection<DeliveryNode>> {
        let filter = filter.unwrap_or_default().dead();
        list_deliveries(context, filter, request(first, after)?).await
    }

    /// A delivery by id.
    async fn delivery(&self, context: &Context<'_>, id: ID) -> Result<Option<DeliveryNode>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Read)?;
        let id: DeliveryId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        let rules = rules(context)?;
        let seen = |delivery: &Delivery| {
            let subscription = rules.subscriptions.get(&delivery.id.lane.subscription());
            subscription.map_or(principal.subscriber.is_none(), |found| sees(principal, found))
        };
        let delivery = master_api(context)?.delivery(id).await.or_show()?;
        Ok(delivery.filter(seen).map(DeliveryNode::from))
    }

    /// Subscriptions, oldest first.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscriptions(&self, context: &Context<'_>) -> Result<Vec<SubscriptionNode>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Read)?;
        let rules = rules(context)?;
        spend(context, rules.subscriptions.len().saturating_mul(NODE_BYTES))?;
        let seen = rules.subscriptions.values().filter(|found| sees(principal, found));
        Ok(seen.cloned().map(SubscriptionNode).collect())
    }

    /// Sources, by name.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn sources(&self, context: &Context<'_>) -> Result<Vec<SourceNode>> {
        allowed_everywhere(context, Noun::Sources, Access::Read)?;
        let rules = rules(context)?;
        listed(context, rules.sources.values(), |source| SourceNode(source.clone()))
    }

    /// Subscribers, by id.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscribers(&self, context: &Context<'_>) -> Result<Vec<SubscriberNode>> {
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let rules = rules(context)?;
        listed(context, rules.subscribers.values(), |subscriber| SubscriberNode(subscriber.clone()))
    }

    /// Event types that have defaults, by URI.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn event_types(&self, context: &Context<'_>) -> Result<Vec<EventTypeNode>> {
        allowed_everywhere(context, Noun::Schemas, Access::Read)?;
        let rules = rules(context)?;
        listed(context, rules.event_types.values(), |event_type| EventTypeNode(event_type.clone()))
    }

    /// Back-off rules of all levels but the subscriptions' own.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn backoffs(&self, context: &Context<'_>) -> Result<Vec<BackoffNode>> {
        allowed_everywhere(context, Noun::Backoffs, Access::Read)?;
        let rules = rules(context)?;
        listed(context, &rules.backoffs, |rule| BackoffNode(rule.clone()))
    }

    /// API keys.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn keys(&self, context: &Context<'_>) -> Result<Vec<KeyNode>> {
        allowed_everywhere(context, Noun::Keys, Access::Read)?;
        let rules = rules(context)?;
        let uses = KeyUses::default();
        listed(context, rules.keys.values(), |key| KeyNode(key.clone(), uses.clone()))
    }

    /// Numbers of the whole deployment.
    async fn stats(&self, context: &Context<'_>) -> Result<StatsNode> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        Ok(StatsNode(master_api(context)?.stats().await.or_show()?))
    }
}

/// For how many rows a page counts in the complexity of a query.
fn page(first: Option<i32>) -> usize {
    first.and_then(|first| usize::try_from(first).ok()).unwrap_or(PAGE)
}

async fn list_events(
    context: &Context<'_>,
    filter: EventFilter,
    page: PageRequest,
) -> Result<Connection<EventNode>> {
    allowed_everywhere(context, Noun::Events, Access::Read)?;
    let page = master_api(context)?.events(filter, page).await.or_show()?;
    let nodes = EventNode::all(context, page.items).await?;
    Ok(Connection::new(nodes, page.next))
}

async fn list_deliveries(
    context: &Context<'_>,
    filter: DeliveryFilterInput,
    page: PageRequest,
) -> Result<Connection<DeliveryNode>> {
    let principal = allowed(context, Noun::Subscriptions, Access::Read)?;
    let filter = filter.resolve(&*rules(context)?, principal)?;
    let page = master_api(context)?.deliveries(filter, page).await.or_show()?;
    let nodes = DeliveryNode::all(context, page.items).await?;
    Ok(Connection::new(nodes, page.next))
}
