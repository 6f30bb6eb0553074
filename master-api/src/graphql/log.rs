//! The log as queries see it.

use super::{
    access::{OrShow, Result, allowed_everywhere, invalid, master_api},
    budget::spend,
    paging::{Connection, request},
};
use async_graphql::{Context, Enum, Json, Object};
use contract::{
    access::{Access, Noun},
    id::Sequence,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
};

/// About the log.
#[derive(Debug, Default)]
pub(super) struct LogQueries;

#[expect(clippy::too_many_arguments, reason = "arguments of a query are arguments")]
#[Object]
impl LogQueries {
    /// Facts, oldest first. `kind` is as in `event_accepted`. A page may be short although there
    /// are more: `hasNextPage` says so.
    #[graphql(complexity = "usize::try_from(first.unwrap_or(50)).unwrap_or(1) * child_complexity")]
    async fn log(
        &self,
        context: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        chain: Option<ChainName>,
        kind: Option<String>,
    ) -> Result<Connection<FactNode>> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let page = request(first, after)?;
        let after = page.after.as_deref().map_or(Ok(0), str::parse);
        let after = after.map_err(|_number| invalid("`after` is no cursor of a page"))?;
        let chain = chain.map(Chain::from);
        let filter = LogFilter { chain, kinds: kind.into_iter().collect(), ..LogFilter::default() };
        let (after, first) = (Sequence(after), page.first);
        let query = LogQuery { after, first, filter, ..LogQuery::default() };
        let found = master_api(context)?.facts(query).await.or_show()?;
        let next = found.more.then(|| found.read_to.to_string());
        Ok(Connection::new(found.facts.into_iter().map(FactNode).collect(), next))
    }
}

/// The two chains of the log, which share one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(name = "Chain", remote = "Chain")]
pub(super) enum ChainName {
    /// Kept for ever.
    Configuration,
    /// Kept as long as retention says.
    Traffic,
}

/// Something that happened.
#[derive(Debug)]
pub(super) struct FactNode(LoggedFact);

#[Object(name = "Fact")]
impl FactNode {
    /// Its position; one sequence for both chains.
    async fn sequence(&self) -> u64 {
        self.0.sequence.0
    }
    /// When.
    async fn time(&self) -> String {
        self.0.time.to_string()
    }
    /// Who caused it: a key's id, or a part of the server.
    async fn actor(&self) -> String {
        self.0.actor.to_string()
    }
    /// Which chain it belongs to.
    async fn chain(&self) -> ChainName {
        self.0.chain.into()
    }
    /// As in `event_accepted`.
    async fn kind(&self) -> &str {
        &self.0.kind
    }
    /// What happened. Payloads and secrets are never in it.
    async fn body(&self, context: &Context<'_>) -> Result<Json<serde_json::Value>> {
        spend(context, self.0.body.to_string().len())?;
        Ok(Json(self.0.body.clone()))
    }
    /// Hash of the fact before it in its chain, in hex; zeros for the first.
    async fn prev_hash(&self) -> &str {
        &self.0.prev_hash
    }
}
