//! Going along with the log as it grows: at the reader's own pace, a page at a time, and for as
//! long as the reader may. A slow one costs no memory; one that falls too far behind is moved to
//! the end of the log and told over how many facts.

use crate::{
    Result,
    authenticate::Holder,
    id::Sequence,
    limits::LOG_WAIT_MAX,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
    master_api::MasterApi,
};
use std::{collections::VecDeque, fmt, sync::Arc};

/// How many facts a reader may be behind before it is moved to the end of the log.
pub const LAG_MAX: u64 = 5_000;
/// Facts that are read at once, and so held for a reader that is slow.
const FACTS_PER_PAGE: u32 = 100;

/// Goes along with the traffic in the log.
pub struct Follower {
    log: Arc<dyn MasterApi>,
    /// None: whoever reads is trusted.
    holder: Option<Holder>,
    query: LogQuery,
    /// Read, and not yet taken.
    pending: VecDeque<LoggedFact>,
    passed_over: u64,
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Follower {
    /// Facts of these kinds, after a position.
    pub fn new(
        log: Arc<dyn MasterApi>,
        holder: Option<Holder>,
        kinds: &[&str],
        after: Sequence,
    ) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let filter = LogFilter { kinds, chain: Some(Chain::Traffic), ..LogFilter::default() };
        let query = LogQuery { after, first: FACTS_PER_PAGE, filter, wait: LOG_WAIT_MAX };
        Self { log, holder, query, pending: VecDeque::new(), passed_over: 0 }
    }

    /// Everything up to here was read or passed over.
    pub const fn position(&self) -> Sequence {
        self.query.after
    }

    /// The next fact; waits for it.
    pub async fn next(&mut self) -> Result<LoggedFact> {
        loop {
            if let Some(fact) = self.pending.pop_front() {
                return Ok(fact);
            }
            let page = self.page().await?;
            self.pending.extend(page);
        }
    }

    /// The next facts; waits for them, and gives none if none came for a while. Errors:
    /// `unauthenticated` as soon as the reader may not go on.
    pub async fn page(&mut self) -> Result<Vec<LoggedFact>> {
        let mut rules = self.log.rules();
        loop {
            rules.mark_unchanged();
            self.admitted().await?;
            let head = self.log.log_head().await?.sequence;
            let behind = head.0.saturating_sub(self.query.after.0);
            if behind > LAG_MAX {
                self.passed_over = self.passed_over.saturating_add(behind);
                self.query.after = head;
            }
            let page = tokio::select! {
                page = self.log.facts(self.query.clone()) => page?,
                // The reader's key may be among what is no more.
                Ok(()) = rules.changed() => continue,
            };
            self.query.after = page.read_to;
            return Ok(page.facts);
        }
    }

    /// To be called before each message: whether the reader may still have it, and how many facts
    /// were passed over since the message before. Errors as of [`Holder::admitted`].
    pub async fn sending(&mut self) -> Result<u64> {
        self.admitted().await?;
        Ok(std::mem::take(&mut self.passed_over))
    }

    async fn admitted(&self) -> Result<()> {
        match &self.holder {
            Some(holder) => holder.admitted().await,
            None => Ok(()),
        }
    }
}
