//! The inspection, once a tick: moves cursors, brings retries, heals losses.
//!
//! The oldest fresh delivery of a lane tells how the lane is doing. All before it were attempted,
//! so the durable cursor moves up to it. If it is still the oldest one tick later, the queue is
//! asked whether it has it: a queue that takes it had lost it, or never got it, and then the whole
//! lane is read again from its cursor. The same happens when it has not moved for `refeed_after`,
//! because others behind it may be missing.

use super::{ENQUEUE_ITEMS_MAX, Feeder};
use crate::{deadline::within, metrics::Way};
use contract::{
    Result,
    clock::Timestamp,
    id::{LaneId, Sequence},
    master_api::{FeedItem, FeedPage, Fence, LaneStatus},
    queue::Enqueued,
};
use futures_util::{StreamExt, stream};
use std::collections::{HashMap, VecDeque};

/// What is known from one tick to the next. Holds listed lanes only.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    next_tick: Timestamp,
    /// Listed by the log at the last tick and not looked at yet.
    pending: VecDeque<LaneStatus>,
    seen: HashMap<LaneId, Seen>,
}

/// A lane as it was found.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Its oldest fresh delivery.
    oldest: Option<Sequence>,
    /// Since when it is the oldest.
    since: Timestamp,
}

/// What looking at a lane has shown.
#[derive(Debug)]
struct Finding {
    lane: LaneId,
    /// Where the durable cursor can go.
    cursor: Option<Sequence>,
    seen: Seen,
    /// The oldest fresh delivery, if it was there at the last tick, too; where an order is kept,
    /// behind all that are to be tried again.
    probe: Vec<FeedItem>,
    /// Nothing has moved for too long.
    overdue: bool,
}

impl Inspection {
    /// Are there lanes that were listed and not looked at?
    pub fn is_unfinished(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When the next one begins.
    pub const fn next_tick(&self) -> Timestamp {
        self.next_tick
    }

    /// Nothing is known of any lane.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.seen.is_empty()
    }

    fn list(&mut self, lanes: Vec<LaneStatus>) {
        let mut before = std::mem::take(&mut self.seen);
        let known = |status: &LaneStatus| Some((status.lane, before.remove(&status.lane)?));
        self.seen = lanes.iter().filter_map(known).collect();
        self.pending = lanes.into();
    }
}

impl Feeder {
    /// Lists the lanes if a tick has passed, and looks at some of them.
    pub(super) async fn inspect(&self, fence: Fence, inspection: &mut Inspection) -> Result<()> {
        let now = self.clock.now();
        if !inspection.is_unfinished() && now >= inspection.next_tick {
            let lanes = self.log.lanes(self.horizon());
            let lanes = within(self.config.timeout.0, "the log", lanes).await?;
            inspection.next_tick = now.after(self.config.tick.0);
            if !self.table.is_started() {
                tracing::info!(lanes = lanes.len(), "feeding what was left unfinished");
                self.table.start(&lanes);
                return Ok(());
            }
            inspection.list(lanes);
        }
        let count = inspection.pending.len().min(self.config.lanes_per_round.max(1));
        let lanes: Vec<_> = inspection.pending.drain(..count).collect();
        self.look_at(fence, &mut inspection.seen, lanes).await
    }

    async fn look_at(
        &self,
        fence: Fence,
        seen: &mut HashMap<LaneId, Seen>,
        lanes: Vec<LaneStatus>,
    ) -> Result<()> {
        let known: Vec<_> = lanes.into_iter().map(|s| (s, seen.get(&s.lane).copied())).collect();
        let mut looks = stream::iter(known)
            .map(|(status, before)| self.look(status, before))
            .buffer_unordered(self.config.lanes_at_once.max(1));
        let (mut findings, mut failure) = (Vec::new(), None);
        while let Some(finding) = looks.next().await {
            match finding {
                Ok(finding) => findings.push(finding),
                Err(error) => failure = Some(error),
            }
        }
        for finding in &findings {
            seen.insert(finding.lane, finding.seen);
            if finding.overdue {
                self.metrics.refed();
                self.table.rewind(finding.lane);
            }
        }
        self.advance(fence, &findings).await?;
        let probes: Vec<_> = findings.into_iter().flat_map(|finding| finding.probe).collect();
        for some in probes.chunks(ENQUEUE_ITEMS_MAX) {
            self.probe(some.to_vec()).await?;
        }
        failure.map_or(Ok(()), Err)
    }

    async fn look(&self, status: LaneStatus, before: Option<Seen>) -> Result<Finding> {
        let lane = status.lane;
        let page = self.fresh(lane, status.cursor, 1).await?;
        if status.next_due.is_some_and(|due| due <= self.horizon()) {
            self.bring_retries(lane).await?;
        }
        let now = self.clock.now();
        let oldest = page.fresh.first().map(|item| item.delivery.sequence);
        let before = before.filter(|before| before.oldest == oldest);
        let since = before.map_or(now, |before| before.since);
        let overdue = now.since(since) >= self.config.refeed_after.0;
        let seen = Seen { oldest, since: if overdue { now } else { since } };
        let stuck = page.fresh.first().copied().filter(|_| before.is_some() && !overdue);
        let mut probe = match stuck {
            Some(_) if self.is_ordered(lane) => self.retries(lane).await?,
            Some(_) | None => Vec::new(),
        };
        probe.extend(stuck);
        let cursor = Some(cursor(status, &page)).filter(|cursor| *cursor > status.cursor);
        Ok(Finding { lane, cursor, seen, probe, overdue })
    }

    /// A lane that is behind has its retries brought by its turns, another one here.
    async fn bring_retries(&self, lane: LaneId) -> Result<()> {
        if self.table.want_retries(lane) {
            return Ok(());
        }
        let due = self.retries(lane).await?;
        if self.put(&due).await? < due.len() {
            self.table.rewind(lane);
        }
        Ok(())
    }

    async fn advance(&self, fence: Fence, findings: &[Finding]) -> Result<()> {
        let cursor = |finding: &Finding| Some((finding.lane, finding.cursor?));
        let cursors: Vec<_> = findings.iter().filter_map(cursor).collect();
        if cursors.is_empty() {
            return Ok(());
        }
        within(self.config.timeout.0, "the log", self.log.advance(fence, cursors)).await
    }

    /// Asks the queue whether it has these. It should; what it takes was missing.
    async fn probe(&self, probes: Vec<FeedItem>) -> Result<()> {
        if probes.is_empty() {
            return Ok(());
        }
        let answers = self.enqueue(probes.clone(), Way::Log).await?;
        for (probe, answer) in probes.iter().zip(answers) {
            match answer {
                Enqueued::Held => {}
                Enqueued::Queued => {
                    tracing::debug!(delivery = %probe.delivery, "the queue had lost a delivery");
                    self.metrics.refed();
                    self.table.rewind(probe.delivery.lane);
                }
                // Missing, too, and there is no room for it: it comes with the next vacancy.
                Enqueued::Full => self.table.reread(probe.delivery.lane),
            }
        }
        Ok(())
    }
}

/// Just before the oldest fresh delivery; without one, where the search for one ended.
fn cursor(status: LaneStatus, page: &FeedPage) -> Sequence {
    match page.fresh.first() {
        Some(oldest) => Sequence(oldest.delivery.sequence.0.saturating_sub(1)),
        None if page.more => page.read_to,
        // The newest delivery was there before the search, and the search found nothing.
        None => page.read_to.max(status.head),
    }
}
