//! What is delivered once more.

use super::{
    access::{OrShow, Result, actor, allowed_everywhere, invalid, master_api},
    budget::LIST,
    filters::time,
};
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use contract::{
    access::{Access, Noun},
    id::ReplayId,
    replay::{Replay, ReplayProgress, ReplaySpec},
};

/// Questions about replays.
#[derive(Debug, Default)]
pub(super) struct ReplayQuery;

#[Object]
impl ReplayQuery {
    /// Replays that are not over and the newest of the others, newest first.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn replays(&self, context: &Context<'_>) -> Result<Vec<ReplayNode>> {
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let replays = master_api(context)?.replays().await.or_show()?;
        Ok(replays.into_iter().map(ReplayNode).collect())
    }

    /// A replay by id.
    async fn replay(&self, context: &Context<'_>, id: ID) -> Result<Option<ReplayNode>> {
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let replay = master_api(context)?.replay(parsed(&id)?).await.or_show()?;
        Ok(replay.map(ReplayNode))
    }

    /// What a replay would make. Changes nothing; `through` says whether all was looked at.
    #[graphql(complexity = "LIST + child_complexity")]
    async fn previewed_replay(
        &self,
        context: &Context<'_>,
        input: ReplayInput,
    ) -> Result<ReplayProgressNode> {
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let spec = input.try_into()?;
        Ok(master_api(context)?.preview_replay(spec).await.or_show()?.into())
    }
}

/// Replaying.
#[derive(Debug, Default)]
pub(super) struct ReplayMutation;

#[Object]
impl ReplayMutation {
    /// Delivers once more what is in the log. It goes on after a restart, and repeats nothing.
    async fn start_replay(&self, context: &Context<'_>, input: ReplayInput) -> Result<ReplayNode> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let spec = input.try_into()?;
        let replay = master_api(context)?.start_replay(actor(principal), spec).await.or_show()?;
        Ok(ReplayNode(replay))
    }

    /// Ends a replay; what waits of it is taken back. One that is over stays as it is.
    async fn cancel_replay(&self, context: &Context<'_>, id: ID) -> Result<ReplayNode> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let id = parsed(&id)?;
        let replay = master_api(context)?.cancel_replay(actor(principal), id).await.or_show()?;
        Ok(ReplayNode(replay))
    }
}

fn parsed(id: &ID) -> Result<ReplayId> {
    id.parse().map_err(|error| invalid(format!("{error}")))
}

/// What is to be delivered once more, to whom, and how fast. All given conditions hold together.
/// Without `subscription` and `to`, each of the events goes once more to every subscription that it
/// has a delivery for. With `subscription` alone, to that one what it has deliveries of. With `to`
/// alone, all events that its patterns select and that may be for it. With both, to the one what the
/// other has deliveries of, as far as it may be for it.
#[derive(Debug, InputObject)]
pub(super) struct ReplayInput {
    /// These events; absent: all that the other conditions select.
    events: Option<Vec<ID>>,
    /// What the subscription of this name has deliveries of.
    subscription: Option<String>,
    /// Of this type, as in `github/1/push`; `*` is one whole segment.
    uri: Option<String>,
    /// Taken at or after, RFC 3339.
    since: Option<String>,
    /// Taken before, RFC 3339.
    until: Option<String>,
    /// Dead letters only. One that goes to the same subscription once more is cancelled, and the
    /// new delivery stands for it.
    #[graphql(default)]
    dead: bool,
    /// To the subscription of this name.
    to: Option<String>,
    /// Deliveries made in a second; absent: as fast as they are delivered.
    rate: Option<u32>,
    /// The deliveries have a `webhook-id` of their own.
    #[graphql(default)]
    new_ids: bool,
}

impl TryFrom<ReplayInput> for ReplaySpec {
    type Error = async_graphql::Error;
    fn try_from(input: ReplayInput) -> Result<Self> {
        let ReplayInput { events, subscription, uri, since, until, dead, to, rate, new_ids } =
            input;
        let event = |id: ID| id.parse().map_err(|error| invalid(format!("{error}")));
        let events = events.unwrap_or_default().into_iter().map(event).collect::<Result<_>>()?;
        let uri = uri.map(|uri| uri.parse()).transpose();
        let uri = uri.map_err(|error: contract::Error| invalid(error.message))?;
        let (since, until) = (time("since", since)?, time("until", until)?);
        Ok(Self { events, subscription, uri, since, until, dead, to, rate, new_ids })
    }
}

/// Something that is delivered once more.
#[derive(Debug)]
pub(super) struct ReplayNode(Replay);

#[Object(name = "Replay")]
impl ReplayNode {
    /// `rpl_...`
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// `running`, `cancelling`, `finished`, `cancelled`.
    async fn state(&self) -> &str {
        self.0.state.as_str()
    }
    /// When it was ordered, RFC 3339.
    async fn started_at(&self) -> String {
        self.0.started_at.to_string()
    }
    /// When it was over; null: it is not.
    async fn ended_at(&self) -> Option<String> {
        self.0.ended_at.map(|time| time.to_string())
    }
    /// How far it is.
    async fn progress(&self) -> ReplayProgressNode {
        self.0.progress.into()
    }
    /// These events; empty: all that the other conditions select.
    async fn events(&self) -> Vec<ID> {
        self.0.spec.events.iter().map(|id| id.to_string().into()).collect()
    }
    /// What the subscription of this name had deliveries of.
    async fn subscription(&self) -> Option<&str> {
        self.0.spec.subscription.as_deref()
    }
    /// Of this type, or of one that this pattern selects.
    async fn uri(&self) -> Option<String> {
        self.0.spec.uri.as_ref().map(ToString::to_string)
    }
    /// Taken at or after, RFC 3339.
    async fn since(&self) -> Option<String> {
        self.0.spec.since.map(|time| time.to_string())
    }
    /// Taken before, RFC 3339.
    async fn until(&self) -> Option<String> {
        self.0.spec.until.map(|time| time.to_string())
    }
    /// Dead letters only.
    async fn dead(&self) -> bool {
        self.0.spec.dead
    }
    /// To the subscription of this name.
    async fn to(&self) -> Option<&str> {
        self.0.spec.to.as_deref()
    }
    /// Deliveries made in a second; null: as fast as they are delivered.
    async fn rate(&self) -> Option<u32> {
        self.0.spec.rate
    }
    /// The deliveries have a `webhook-id` of their own.
    async fn new_ids(&self) -> bool {
        self.0.spec.new_ids
    }
}

/// How far a replay is; of a preview, how far it would go. Numbers are texts: they may be larger
/// than 32 bits.
#[derive(Debug, SimpleObject)]
#[graphql(name = "ReplayProgress")]
pub(super) struct ReplayProgressNode {
    /// Events or deliveries that were looked at.
    looked_at: String,
    /// Deliveries that were made.
    made: String,
    /// Passed over: the payload is gone, or goes with its day.
    skipped_expired: String,
    /// Passed over: there is no subscription any more for which it may be.
    skipped_unwanted: String,
    /// Passed over: the delivery that it has is still to be attempted.
    skipped_waiting: String,
    /// Of those made: to be attempted.
    waiting: String,
    /// Of those made: delivered.
    delivered: String,
    /// Of those made: given up.
    dead: String,
    /// Of those made: taken back.
    cancelled: String,
    /// All was looked at.
    through: bool,
}

impl From<ReplayProgress> for ReplayProgressNode {
    fn from(progress: ReplayProgress) -> Self {
        Self {
            looked_at: progress.looked_at.to_string(),
            made: progress.made.to_string(),
            skipped_expired: progress.skipped_expired.to_string(),
            skipped_unwanted: progress.skipped_unwanted.to_string(),
            skipped_waiting: progress.skipped_waiting.to_string(),
            waiting: progress.waiting.to_string(),
            delivered: progress.delivered.to_string(),
            dead: progress.dead.to_string(),
            cancelled: progress.cancelled.to_string(),
            through: progress.through,
        }
    }
}
