//! What happens, as it happens: every reader follows the log from where it stands.

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, error, master_api, rules},
    events::EventSummaryNode,
    filters::{DeliveryFilterInput, EventFilterInput},
    nodes::{DeliveryNode, StatsNode},
};
use crate::fact::FactBody;
use async_graphql::{
    Context, SimpleObject, Subscription,
    futures_util::{Stream, stream},
};
use contract::{
    Error,
    access::{Access, Noun},
    authenticate::Holder,
    delivery::Delivery,
    event::Event,
    follow::Follower,
    id::{DeliveryId, SubscriptionNumber},
    log::LoggedFact,
    master_api::{DeliveryFilter, EventFilter, MasterApi, Stats},
    rules::Rules,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Numbers are looked at this often.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// An event that was stored.
#[derive(Debug, SimpleObject)]
pub(super) struct LiveEvent {
    /// The event.
    event: EventSummaryNode,
    /// Facts that were passed over since the last message, because the reader was too slow: the
    /// events among them are lost to it.
    passed_over: u64,
}

/// A delivery that changed.
#[derive(Debug, SimpleObject)]
pub(super) struct LiveDelivery {
    /// The delivery as it stands now.
    delivery: DeliveryNode,
    /// What happened to it: `attempt_recorded`, `delivery_resent`, `delivery_cancelled`,
    /// `delivery_abandoned`.
    change: String,
    /// Facts that were passed over since the last message, because the reader was too slow.
    passed_over: u64,
}

/// What happens from now on.
#[derive(Debug, Default)]
pub struct Live;

#[Subscription]
impl Live {
    /// Events as they are stored or released.
    async fn events(
        &self,
        context: &Context<'_>,
        filter: Option<EventFilterInput>,
    ) -> Result<impl Stream<Item = Result<LiveEvent>> + use<>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let filter: EventFilter = filter.unwrap_or_default().try_into()?;
        let kinds = ["event_accepted", "event_quarantined", "quarantine_released"];
        let follower = follow(context, &kinds).await?;
        Ok(stream::try_unfold(follower, move |mut follower| {
            let filter = filter.clone();
            async move {
                loop {
                    let fact = follower.next().await.or_show()?;
                    if let Some(event) = event_of(fact)?
                        && filter.matches(&event)
                    {
                        let event = EventSummaryNode(Arc::new(event));
                        let passed_over = follower.sending().await.or_show()?;
                        return Ok(Some((LiveEvent { event, passed_over }, follower)));
                    }
                }
            }
        }))
    }

    /// Deliveries as they are attempted, sent again, cancelled, or given up.
    async fn deliveries(
        &self,
        context: &Context<'_>,
        filter: Option<DeliveryFilterInput>,
    ) -> Result<impl Stream<Item = Result<LiveDelivery>> + use<>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Read)?;
        let filter = filter.unwrap_or_default().resolve(&*rules(context)?, principal)?;
        let kinds =
            ["attempt_recorded", "delivery_resent", "delivery_cancelled", "delivery_abandoned"];
        let log = Arc::clone(master_api(context)?);
        let follower = follow(context, &kinds).await?;
        Ok(stream::try_unfold(follower, move |mut follower| {
            let (filter, log) = (filter.clone(), Arc::clone(&log));
            async move {
                loop {
                    let fact = follower.next().await.or_show()?;
                    let Some(id) = delivery_of(&fact) else { continue };
                    if let Some(delivery) = wanted(&*log, id, &filter).await.or_show()? {
                        let delivery = DeliveryNode::from(delivery);
                        let passed_over = follower.sending().await.or_show()?;
                        let live = LiveDelivery { delivery, change: fact.kind, passed_over };
                        return Ok(Some((live, follower)));
                    }
                }
            }
        }))
    }

    /// Numbers of the whole deployment: at once, and then whenever they changed, once a second at
    /// most.
    async fn stats(
        &self,
        context: &Context<'_>,
    ) -> Result<impl Stream<Item = Result<StatsNode>> + use<>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let watch = Watch {
            master_api: Arc::clone(master_api(context)?),
            holder: context.data_opt().cloned(),
            last: None,
            interval: interval(STATS_INTERVAL),
        };
        Ok(stream::try_unfold(watch, |mut watch| async move {
            watch.interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                watch.interval.tick().await;
                let stats = watch.master_api.stats().await.or_show()?;
                if let Some(holder) = &watch.holder {
                    holder.admitted().await.or_show()?;
                }
                if watch.last != Some(stats) {
                    watch.last = Some(stats);
                    return Ok(Some((StatsNode(stats), watch)));
                }
            }
        }))
    }
}

/// Numbers as they were sent last.
struct Watch {
    master_api: Arc<dyn MasterApi>,
    holder: Option<Holder>,
    last: Option<Stats>,
    interval: Interval,
}

/// Goes along with the log from its end on.
async fn follow(context: &Context<'_>, kinds: &[&str]) -> Result<Follower> {
    let log = Arc::clone(master_api(context)?);
    let after = log.log_head().await.or_show()?.sequence;
    Ok(Follower::new(log, context.data_opt().cloned(), kinds, after))
}

/// The delivery as it stands, if the filter wants it.
async fn wanted(
    log: &dyn MasterApi,
    id: DeliveryId,
    filter: &DeliveryFilter,
) -> contract::Result<Option<Delivery>> {
    let rules = Arc::clone(&log.rules().borrow());
    if !its(&rules, id.lane.subscription(), filter) {
        return Ok(None);
    }
    let found = log.delivery(id).await?;
    let wanted = |delivery: &Delivery| {
        filter.state.is_none_or(|state| state == delivery.state)
            && filter.since.is_none_or(|since| delivery.created_at >= since)
            && filter.until.is_none_or(|until| delivery.created_at < until)
    };
    let Some(delivery) = found.filter(wanted) else { return Ok(None) };
    if let Some(pattern) = &filter.uri {
        let event = log.event(delivery.event).await?;
        if !event.is_some_and(|event| pattern.matches(&event.uri)) {
            return Ok(None);
        }
    }
    Ok(Some(delivery))
}

/// Is it the subscription, or one of the subscriber, that is wanted?
fn its(rules: &Rules, number: SubscriptionNumber, filter: &DeliveryFilter) -> bool {
    let found = rules.subscriptions.get(&number);
    filter.subscription.is_none_or(|id| found.is_some_and(|found| found.id == id))
        && (filter.subscriber.is_none()
            || found.is_some_and(|found| found.spec.subscriber == filter.subscriber))
}

fn delivery_of(fact: &LoggedFact) -> Option<DeliveryId> {
    fact.body.get("delivery")?.as_str()?.parse().ok()
}

fn event_of(fact: LoggedFact) -> Result<Option<Event>> {
    let sequence = fact.sequence;
    let body: FactBody = serde_json::from_value(serde_json::json!({ fact.kind: fact.body }))
        .map_err(|unread| error(&Error::internal(format!("{sequence}: {unread}"))))?;
    Ok(match body {
        FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. } => {
            Some(event.into_event(sequence, None))
        }
        FactBody::EventQuarantined { event, reason } => {
            Some(event.into_event(sequence, Some(reason)))
        }
        _ => None,
    })
}
