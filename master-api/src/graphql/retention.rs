//! What is kept, what goes, and what somebody has erased.

use super::access::{OrShow, Result, actor, allowed_everywhere, invalid, master_api};
use async_graphql::{Context, ID, Object, SimpleObject};
use contract::{
    access::{Access, Noun},
    backoff::Span,
    id::EventId,
    retention::{DayPlan, Erased, ErasureTarget, Retained, RetentionPlan},
};

/// Questions about retention.
#[derive(Debug, Default)]
pub(super) struct RetentionQuery;

#[Object]
impl RetentionQuery {
    /// What is kept, and what goes when. Needs `config:read`.
    async fn retention_plan(&self, context: &Context<'_>) -> Result<RetentionPlanNode> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        Ok(RetentionPlanNode(master_api(context)?.retention_plan().await.or_show()?))
    }
}

/// Letting go.
#[derive(Debug, Default)]
pub(super) struct RetentionMutation;

#[Object]
impl RetentionMutation {
    /// Has retention run now. With `compact`, also rewrites the tables, so that what was erased is
    /// in no file of the store any more. Needs `config:write`.
    async fn run_retention(
        &self,
        context: &Context<'_>,
        compact: Option<bool>,
    ) -> Result<RetainedNode> {
        allowed_everywhere(context, Noun::Config, Access::Write)?;
        let compact = compact.unwrap_or_default();
        Ok(master_api(context)?.run_retention(compact).await.or_show()?.into())
    }

    /// Erases the payload of an event; what waits of it is dead. Needs `config:write`.
    async fn erase_event(&self, context: &Context<'_>, id: ID) -> Result<ErasedNode> {
        allowed_everywhere(context, Noun::Config, Access::Write)?;
        let id: EventId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        erase(context, ErasureTarget::Event(id)).await
    }

    /// Erases the payloads of all events that are addressed to a subscriber. Needs `config:write`.
    async fn erase_subscriber(&self, context: &Context<'_>, id: String) -> Result<ErasedNode> {
        erase(context, ErasureTarget::Subscriber(id)).await
    }
}

async fn erase(context: &Context<'_>, target: ErasureTarget) -> Result<ErasedNode> {
    let principal = allowed_everywhere(context, Noun::Config, Access::Write)?;
    Ok(master_api(context)?.erase(actor(principal), target).await.or_show()?.into())
}

/// What is kept, and what goes when.
#[derive(Debug)]
pub(super) struct RetentionPlanNode(RetentionPlan);

#[Object(name = "RetentionPlan")]
impl RetentionPlanNode {
    /// How long payloads and finished deliveries are kept, as in `30d`.
    async fn age(&self) -> String {
        Span(self.0.age).to_string()
    }
    /// How long an unfinished delivery keeps its payload, as in `90d`.
    async fn unfinished(&self) -> String {
        Span(self.0.unfinished).to_string()
    }
    /// Bytes of all tables above which the oldest days go before their time; `0`: no such bound.
    async fn size_bytes_max(&self) -> String {
        self.0.size_bytes_max.to_string()
    }
    /// Bytes of the tables, roughly, by what is in them.
    async fn bytes(&self) -> Vec<KindBytesNode> {
        let node = |(kind, bytes): (&'static str, u64)| KindBytesNode {
            kind: kind.to_owned(),
            bytes: bytes.to_string(),
        };
        self.0.bytes.by_kind().into_iter().map(node).collect()
    }
    /// The days that are there, oldest first.
    async fn days(&self) -> Vec<RetentionDayNode> {
        self.0.days.iter().map(|day| RetentionDayNode::from(*day)).collect()
    }
    /// When retention last ran, RFC 3339.
    async fn last_run(&self) -> Option<String> {
        self.0.last_run.map(|time| time.to_string())
    }
    /// Days that are gone, ever.
    async fn days_dropped(&self) -> String {
        self.0.days_dropped.to_string()
    }
    /// Erasures that were ordered and are not done.
    async fn erasures_waiting(&self) -> String {
        self.0.erasures_waiting.to_string()
    }
}

/// Bytes of one kind of table.
#[derive(Debug, SimpleObject)]
#[graphql(name = "KindBytes")]
pub(super) struct KindBytesNode {
    /// `configuration`, `facts`, `payloads`, `idempotency`, `indices`.
    kind: String,
    /// How many.
    bytes: String,
}

/// A day of traffic.
#[derive(Debug, SimpleObject)]
#[graphql(name = "RetentionDay")]
pub(super) struct RetentionDayNode {
    /// Its first moment, UTC, RFC 3339.
    starts_at: String,
    /// Its facts.
    facts: String,
    /// Bytes of its tables, roughly.
    bytes: String,
    /// When it goes by its age, RFC 3339.
    goes_at: String,
    /// It goes with the next run.
    due: bool,
}

impl From<DayPlan> for RetentionDayNode {
    fn from(day: DayPlan) -> Self {
        let DayPlan { starts_at, facts, bytes, goes_at, due } = day;
        let (starts_at, goes_at) = (starts_at.to_string(), goes_at.to_string());
        Self { starts_at, facts: facts.to_string(), bytes: bytes.to_string(), goes_at, due }
    }
}

/// What a run of retention did.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Retained")]
pub(super) struct RetainedNode {
    /// Days that are gone now.
    days_dropped: String,
    /// Unfinished deliveries that were carried out of them.
    deliveries_carried: String,
    /// Deliveries that had waited too long.
    deliveries_expired: String,
    /// Bytes of all tables before, roughly.
    bytes_before: String,
    /// Bytes of all tables after.
    bytes_after: String,
}

impl From<Retained> for RetainedNode {
    fn from(done: Retained) -> Self {
        Self {
            days_dropped: done.days_dropped.to_string(),
            deliveries_carried: done.deliveries_carried.to_string(),
            deliveries_expired: done.deliveries_expired.to_string(),
            bytes_before: done.bytes_before.to_string(),
            bytes_after: done.bytes_after.to_string(),
        }
    }
}

/// What became of an erasure.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Erased")]
pub(super) struct ErasedNode {
    /// Payloads that are gone.
    events: String,
    /// Deliveries that waited, and are dead now.
    deliveries: String,
    /// All is gone; otherwise the rest follows by itself.
    done: bool,
}

impl From<Erased> for ErasedNode {
    fn from(erased: Erased) -> Self {
        let Erased { events, deliveries, done } = erased;
        Self { events: events.to_string(), deliveries: deliveries.to_string(), done }
    }
}
