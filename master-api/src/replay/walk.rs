//! What a replay is about, page by page, the oldest first: reads the log and changes nothing.
//!
//! There are four ways through it: named events; the deliveries of a subscription, lane by lane; the
//! dead letters of everybody, by their index; and all events, by their facts. Each goes on after the
//! last key that it looked at.

mod events;

use crate::{
    decide::replay::{Candidate, Verdict, is_wanted, judge},
    fact::{Bucket, ReplayOrder},
    log::LogError,
    ports::position_at,
    project::{decode, read_delivery},
    shared::Shared,
    state::State,
    store::{Scan, Table},
    tables::{self, DeliveryRow},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, LaneId, Sequence},
    limits::REPLAY_PREVIEW_ROWS_MAX,
    replay::ReplayProgress,
};
use std::sync::Arc;

/// Rows read at once.
const ROWS_PER_SCAN: usize = 512;
/// Rows of a page of a preview.
const PREVIEW: Limits = Limits { make: ROWS_PER_SCAN, rows: 4 * ROWS_PER_SCAN };

/// Where a page ends.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Candidates.
    pub make: usize,
    /// Rows looked at.
    pub rows: usize,
}

/// What was found on a page.
#[derive(Debug, Default)]
pub struct Page {
    /// What may be made.
    pub candidates: Vec<Candidate>,
    /// Events or deliveries that were looked at.
    pub looked_at: u64,
    /// What was passed over, by reason.
    pub passed_over: ReplayProgress,
    /// The last key that was looked at.
    pub cursor: Bytes,
    /// Nothing comes after it.
    pub through: bool,
    /// Rows read.
    rows: usize,
}

/// The page after `cursor`.
pub fn page(
    shared: &Shared,
    order: &ReplayOrder,
    cursor: &Bytes,
    limits: Limits,
) -> Result<Page, LogError> {
    let page = Page { cursor: cursor.clone(), ..Page::default() };
    // In this order: a day that ends in between is there twice, and not left out.
    let open = shared.head().bucket;
    let mut walk = Walk { shared, open, state: shared.state.load_full(), order, limits, page };
    let spec = &order.spec;
    match order.from {
        _ if !spec.events.is_empty() => walk.named()?,
        Some(number) => walk.lanes(LaneId(number.0 << 4))?,
        None if spec.dead => walk.dead_letters()?,
        None => walk.facts()?,
    }
    Ok(walk.page)
}

/// What a replay would do, as far as it is looked.
pub fn preview(shared: &Shared, order: &ReplayOrder) -> Result<ReplayProgress, LogError> {
    let (mut progress, mut cursor, mut rows) = (ReplayProgress::default(), Bytes::new(), 0_u64);
    while !progress.through && rows < REPLAY_PREVIEW_ROWS_MAX {
        let page = page(shared, order, &cursor, PREVIEW)?;
        progress.looked_at += page.looked_at;
        progress.skipped_unwanted += page.passed_over.skipped_unwanted;
        progress.skipped_waiting += page.passed_over.skipped_waiting;
        progress.skipped_expired += page.passed_over.skipped_expired;
        let state = shared.state.load_full();
        for candidate in page.candidates {
            let event = shared.event_id(candidate.event)?;
            let from = match candidate.from {
                Some(id) => read_delivery(shared.rows(), id)?,
                None => None,
            };
            judge(&state, candidate, event.as_ref(), from.as_ref()).count(&mut progress);
        }
        (cursor, progress.through) = (page.cursor, page.through);
        rows += u64::try_from(page.rows.max(1)).unwrap_or(u64::MAX);
    }
    Ok(progress)
}

/// A page in the making.
struct Walk<'a> {
    shared: &'a Shared,
    /// The day that was open.
    open: Option<Bucket>,
    state: Arc<State>,
    order: &'a ReplayOrder,
    limits: Limits,
    page: Page,
}

impl Walk<'_> {
    fn is_full(&self) -> bool {
        self.page.candidates.len() >= self.limits.make || self.page.rows >= self.limits.rows
    }

    fn pass_over(&mut self, why: Verdict) {
        why.count(&mut self.page.passed_over);
    }

    /// The first position that may hold something of it.
    fn first(&self) -> Result<Sequence, LogError> {
        let since = self.order.spec.since.map(|since| position_at(self.shared, since));
        Ok(since.transpose()?.unwrap_or_default())
    }

    fn is_in_time(&self, time: Timestamp) -> bool {
        let spec = &self.order.spec;
        spec.since.is_none_or(|since| time >= since) && spec.until.is_none_or(|until| time < until)
    }

    fn is_of_type(&self, event: &Event) -> bool {
        self.order.spec.uri.as_ref().is_none_or(|pattern| pattern.matches(&event.uri))
    }

    /// Takes a delivery of somebody, which is to be repeated.
    fn delivery(&mut self, id: DeliveryId, row: &DeliveryRow) -> Result<(), LogError> {
        let spec = &self.order.spec;
        let dead = row.state == DeliveryState::Dead;
        // Without `dead` it is about events, and each has its delivery among the live ones.
        let meant = if spec.dead { dead } else { !id.lane.is_behind() };
        if !meant || !self.is_in_time(row.created_at) {
            return Ok(());
        }
        let to = self.order.to.unwrap_or_else(|| id.lane.subscription());
        let event = match spec.uri.is_some() || to != id.lane.subscription() {
            true => self.event_of(row)?,
            false => None,
        };
        if spec.uri.is_some() && !event.as_ref().is_some_and(|event| self.is_of_type(event)) {
            return Ok(());
        }
        self.page.looked_at += 1;
        if to != id.lane.subscription()
            && !event.is_some_and(|event| is_wanted(&self.state, to, &event))
        {
            self.pass_over(Verdict::Unwanted);
        } else if row.state == DeliveryState::Waiting {
            self.pass_over(Verdict::Waiting);
        } else {
            self.page.candidates.push(Candidate { event: row.event, to, from: Some(id) });
        }
        Ok(())
    }

    fn event_of(&self, row: &DeliveryRow) -> Result<Option<Event>, LogError> {
        match self.shared.event_id(row.event)? {
            Some(event) => self.shared.event_at(event.place()),
            None => Ok(None),
        }
    }

    /// The deliveries of one subscription, from its lowest lane on.
    fn lanes(&mut self, lowest: LaneId) -> Result<(), LogError> {
        let number = lowest.subscription();
        let first = self.first()?;
        let mut at = tables::delivery_of(&self.page.cursor)
            .unwrap_or(DeliveryId { lane: lowest, sequence: Sequence(0) });
        while at.lane.subscription() == number {
            if self.is_full() {
                return Ok(());
            }
            let after = at.sequence.max(Sequence(first.0.saturating_sub(1)));
            let after = DeliveryId { lane: at.lane, sequence: after };
            let rows = ROWS_PER_SCAN.min(self.limits.rows);
            let scan = Scan::prefix(Table::Deliveries, &tables::lane_key(at.lane), rows);
            let page = self.shared.store.scan(&scan.after(&after.to_bytes()))?;
            let mut last = None;
            for (key, row) in &page {
                let id = tables::delivery_of(key).filter(|id| id.sequence <= self.order.upto);
                let Some(id) = id else { break };
                let row: DeliveryRow = decode("delivery", row)?;
                let gone = self.state.dropped.delivery(id.sequence, row.carried);
                if !gone {
                    self.delivery(id, &row)?;
                }
                self.page.rows += 1;
                last = Some(id);
                if self.is_full() {
                    break;
                }
            }
            at = last.unwrap_or(DeliveryId { lane: LaneId(at.lane.0 + 1), sequence: Sequence(0) });
            self.page.cursor = Bytes::copy_from_slice(&at.to_bytes());
        }
        self.page.through = true;
        Ok(())
    }

    /// The dead letters of everybody.
    fn dead_letters(&mut self) -> Result<(), LogError> {
        let first = DeliveryId { lane: LaneId(0), sequence: self.first()? };
        loop {
            if self.is_full() {
                return Ok(());
            }
            let rows = ROWS_PER_SCAN.min(self.limits.rows);
            let scan = Scan::all(Table::Dead, rows);
            let scan = match self.page.cursor.is_empty() {
                true => scan.from(&tables::dead_key(first)),
                false => scan.after(&self.page.cursor),
            };
            let end = DeliveryId { lane: LaneId(0), sequence: Sequence(self.order.upto.0 + 1) };
            let found = self.shared.store.scan(&scan.before(&tables::dead_key(end)))?;
            if found.is_empty() {
                self.page.through = true;
                return Ok(());
            }
            for (key, _) in &found {
                if let Some(id) = tables::dead_of(key)
                    && let Some(row) = read_delivery(self.shared.rows(), id)?
                    && !self.state.dropped.delivery(id.sequence, row.carried)
                {
                    self.delivery(id, &row)?;
                }
                self.page.rows += 1;
                self.page.cursor = key.clone();
                if self.is_full() {
                    break;
                }
            }
        }
    }
}
