//! What happens, as it happens. Every reader follows the log from where it stands, at its own pace
//! and a page at a time: a slow one costs no memory. One that falls too far behind is moved to the
//! end of the log, and the next message says how many facts were passed over.

use super::{
    access::{Holder, OrShow, Result, allowed, allowed_everywhere, error, master_api, rules},
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
    delivery::Delivery,
    event::Event,
    id::{DeliveryId, SubscriptionNumber},
    limits::LOG_WAIT_MAX,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
    master_api::{DeliveryFilter, EventFilter, MasterApi, Stats},
    rules::Rules,
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How many facts a reader may be behind before it is moved to the end of the log.
pub(crate) const LAG_MAX: u64 = 5_000;
/// Facts that are read at once, and so held for a reader that is slow.
const FACTS_PER_PAGE: u32 = 100;
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
        let follower = Follower::new(context, &kinds).await?;
        Ok(stream::try_unfold(follower, move |mut follower| {
            let filter = filter.clone();
            async move {
                loop {
                    let Some(fact) = follower.next().await? else { return Ok(None) };
                    if let Some(event) = event_of(fact)?
                        && filter.matches(&event)
                    {
                        let event = EventSummaryNode(Arc::new(event));
                        let passed_over = std::mem::take(&mut follower.passed_over);
                        follower.reader.admitted().await?;
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
        let follower = Follower::new(context, &kinds).await?;
        Ok(stream::try_unfold(follower, move |mut follower| {
            let filter = filter.clone();
            async move {
                loop {
                    let Some(fact) = follower.next().await? else { return Ok(None) };
                    let Some(id) = delivery_of(&fact) else { continue };
                    if let Some(delivery) = follower.delivery(id, &filter).await? {
                        let delivery = DeliveryNode::from(delivery);
                        let passed_over = std::mem::take(&mut follower.passed_over);
                        follower.reader.admitted().await?;
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
        let watch =
            Watch { reader: Reader::new(context)?, last: None, interval: interval(STATS_INTERVAL) };
        Ok(stream::try_unfold(watch, |mut watch| async move {
            watch.interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                watch.interval.tick().await;
                let stats = watch.reader.master_api.stats().await.or_show()?;
                watch.reader.admitted().await?;
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
    reader: Reader,
    last: Option<Stats>,
    interval: Interval,
}

/// Whoever reads, for as long as it may.
struct Reader {
    master_api: Arc<dyn MasterApi>,
    holder: Option<Holder>,
}

impl Reader {
    fn new(context: &Context<'_>) -> Result<Self> {
        let master_api = Arc::clone(master_api(context)?);
        Ok(Self { master_api, holder: context.data_opt::<Holder>().cloned() })
    }

    /// `unauthenticated` once its key or token is good no more.
    async fn admitted(&self) -> Result<()> {
        match &self.holder {
            Some(holder) => holder.admitted().await.or_show(),
            None => Ok(()),
        }
    }
}

/// Goes along with the log.
struct Follower {
    reader: Reader,
    query: LogQuery,
    /// Read, and not yet sent.
    pending: VecDeque<LoggedFact>,
    passed_over: u64,
}

impl Follower {
    /// From the end of the log on.
    async fn new(context: &Context<'_>, kinds: &[&str]) -> Result<Self> {
        let reader = Reader::new(context)?;
        let after = reader.master_api.log_head().await.or_show()?.sequence;
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let chain = Some(Chain::Traffic);
        let filter = LogFilter { kinds, chain, ..LogFilter::default() };
        let query = LogQuery { after, first: FACTS_PER_PAGE, filter, wait: LOG_WAIT_MAX };
        Ok(Self { reader, query, pending: VecDeque::new(), passed_over: 0 })
    }

    /// The next fact; waits for it, for as long as the reader may. What is sent of it needs one
    /// more look at that.
    async fn next(&mut self) -> Result<Option<LoggedFact>> {
        let mut rules = self.reader.master_api.rules();
        loop {
            if let Some(fact) = self.pending.pop_front() {
                return Ok(Some(fact));
            }
            rules.mark_unchanged();
            self.reader.admitted().await?;
            let head = self.reader.master_api.log_head().await.or_show()?.sequence;
            let behind = head.0.saturating_sub(self.query.after.0);
            if behind > LAG_MAX {
                self.passed_over = self.passed_over.saturating_add(behind);
                self.query.after = head;
            }
            let page = tokio::select! {
                page = self.reader.master_api.facts(self.query.clone()) => page.or_show()?,
                // A key may be among what is no more.
                Ok(()) = rules.changed() => continue,
            };
            self.query.after = page.read_to;
            self.pending.extend(page.facts);
        }
    }

    /// The delivery as it stands, if the filter wants it.
    async fn delivery(&self, id: DeliveryId, filter: &DeliveryFilter) -> Result<Option<Delivery>> {
        let rules = Arc::clone(&self.reader.master_api.rules().borrow());
        if !its(&rules, id.lane.subscription(), filter) {
            return Ok(None);
        }
        let found = self.reader.master_api.delivery(id).await.or_show()?;
        let wanted = |delivery: &Delivery| {
            filter.state.is_none_or(|state| state == delivery.state)
                && filter.since.is_none_or(|since| delivery.created_at >= since)
                && filter.until.is_none_or(|until| delivery.created_at < until)
        };
        let Some(delivery) = found.filter(wanted) else { return Ok(None) };
        if let Some(pattern) = &filter.uri {
            let event = self.reader.master_api.event(delivery.event).await.or_show()?;
            if !event.is_some_and(|event| pattern.matches(&event.uri)) {
                return Ok(None);
            }
        }
        Ok(Some(delivery))
    }
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
