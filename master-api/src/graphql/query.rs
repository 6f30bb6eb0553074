//! Questions.

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, invalid, master_api, rules, sees},
    budget::{LIST, NODE_BYTES, spend},
    events::EventNode,
    inputs::{DeliveryFilterInput, EventFilterInput},
    key_uses::KeyUses,
    log::LogQueries,
    nodes::{DeliveryNode, KeyNode, SourceNode, StatsNode, SubscriptionNode},
    paging::{Connection, request},
    retention::RetentionQuery,
    schemas::SchemaQuery,
    settings::SettingQueries,
    users::UserQuery,
};
use async_graphql::{Context, ID, MergedObject, Object};
use contract::{
    access::{Access, Noun},
    delivery::Delivery,
    id::{DeliveryId, EventId},
};

/// Questions.
#[derive(Debug, Default, MergedObject)]
pub struct Query(TrafficQuery, SchemaQuery, LogQueries, RetentionQuery, UserQuery, SettingQueries);

/// About events, deliveries, and who sends and receives them.
#[derive(Debug, Default)]
pub(super) struct TrafficQuery;

#[Object]
impl TrafficQuery {
    /// Version of the server.
    async fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// Events, newest first.
    #[graphql(complexity = "usize::try_from(first.unwrap_or(50)).unwrap_or(1) * child_complexity")]
    async fn events(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<EventFilterInput>,
    ) -> Result<Connection<EventNode>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let filter = filter.unwrap_or_default().try_into()?;
        let page = master_api(context)?.events(filter, request(first, after)?).await.or_show()?;
        Ok(Connection::new(page.items.into_iter().map(EventNode::from).collect(), page.next))
    }

    /// An event by id.
    async fn event(&self, context: &Context<'_>, id: ID) -> Result<Option<EventNode>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let id: EventId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        Ok(master_api(context)?.event(id).await.or_show()?.map(EventNode::from))
    }

    /// Deliveries, newest first.
    #[graphql(complexity = "usize::try_from(first.unwrap_or(50)).unwrap_or(1) * child_complexity")]
    async fn deliveries(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        filter: Option<DeliveryFilterInput>,
    ) -> Result<Connection<DeliveryNode>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Read)?;
        let rules = rules(context)?;
        let filter = filter.unwrap_or_default().resolve(&rules, principal)?;
        let page = request(first, after)?;
        let page = master_api(context)?.deliveries(filter, page).await.or_show()?;
        Ok(Connection::new(page.items.into_iter().map(DeliveryNode).collect(), page.next))
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
        Ok(delivery.filter(seen).map(DeliveryNode))
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
        spend(context, rules.sources.len().saturating_mul(NODE_BYTES))?;
        Ok(rules.sources.values().cloned().map(SourceNode).collect())
    }

    /// API keys.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn keys(&self, context: &Context<'_>) -> Result<Vec<KeyNode>> {
        allowed_everywhere(context, Noun::Keys, Access::Read)?;
        let rules = rules(context)?;
        spend(context, rules.keys.len().saturating_mul(NODE_BYTES))?;
        let uses = KeyUses::default();
        Ok(rules.keys.values().map(|key| KeyNode(key.clone(), uses.clone())).collect())
    }

    /// Numbers of the whole deployment.
    async fn stats(&self, context: &Context<'_>) -> Result<StatsNode> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        Ok(StatsNode(master_api(context)?.stats().await.or_show()?))
    }
}
