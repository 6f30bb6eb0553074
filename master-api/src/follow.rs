//! Following the log where other replicas write to it: what they wrote is folded into what this
//! one has in memory, fact by fact, in the order of the log.

use crate::{
    fact::{Bucket, FORMAT, Fact, FactBody},
    lanes::LaneTable,
    log::{LogError, hash_of, read_fact},
    project::{LaneGain, decode, read_event},
    search::{self, OpenBlock},
    secrets::Vault,
    shared::Shared,
    state::State,
    store::{Row, Rows, Scan, Table},
    tables::{self, CursorOf, Head},
    tally,
};
use contract::{
    breaker::tells,
    clock::Timestamp,
    delivery::Next,
    id::{EventId, LaneId, Sequence, SubscriptionNumber},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Facts of one page.
const PAGE_ROWS: usize = 1024;
/// Beyond so many facts, the lanes are found by their rows, as at a start, and not fact by fact.
const FACTS_FOLLOWED_MAX: u64 = 20_000;

/// What others wrote, folded on top of what was known.
pub struct Followed {
    /// Where the log ends now.
    pub head: Head,
    /// The configuration there.
    pub state: Arc<State>,
    /// Bytes of its secrets.
    pub vault: Arc<Vault>,
    /// Subscriptions that were removed.
    pub removed: Vec<SubscriptionNumber>,
    /// The last notable fact, or one after it; None: there is none.
    pub notable: Option<Sequence>,
    /// Events whose payloads were removed.
    pub gone: Vec<Sequence>,
    /// What the lanes gained.
    pub lanes: BTreeMap<LaneId, LaneGain>,
    /// The block of the search index that is open there; None: the log has no index.
    pub block: Option<OpenBlock>,
    /// The lanes from their rows, if too much was written.
    pub reloaded: Option<LaneTable>,
    /// The newest event id among what was written.
    pub newest_event: EventId,
    /// How attempts ended: of which subscription, whether it was up, and when.
    pub attempts: Vec<(SubscriptionNumber, bool, Timestamp)>,
    /// Subscriptions of whose attempts is to be counted anew.
    pub counted_anew: Vec<SubscriptionNumber>,
}

/// Where the log ends in the store.
pub fn stored_head(rows: &dyn Rows) -> Result<Head, LogError> {
    let row = rows.get(Table::Meta, tables::HEAD)?;
    read_head(row.as_deref())
}

/// The head of a log that may not have begun.
pub fn read_head(row: Option<&[u8]>) -> Result<Head, LogError> {
    Ok(row.map(|row| decode("head", row)).transpose()?.unwrap_or_default())
}

/// Folds all facts up to the head `to`; None: there are none that are not known.
///
/// Errors: those of the store; a log that is shorter than it was, was changed, or holds what this
/// program does not know. After any of the latter nothing more must be decided here.
pub fn follow(shared: &Shared, to: &Head) -> Result<Option<Followed>, LogError> {
    let own = *shared.head();
    if to.sequence < own.sequence {
        return Err(LogError::Shortened { found: to.sequence, reached: own.sequence });
    }
    if to.sequence == own.sequence {
        return Ok(None);
    }
    let (state, vault) = (shared.state.load_full(), shared.vault.load_full());
    let mut followed = Followed {
        head: *to,
        state,
        vault,
        removed: Vec::new(),
        notable: None,
        gone: Vec::new(),
        lanes: BTreeMap::new(),
        block: None,
        reloaded: None,
        newest_event: EventId::from_bytes([0; 16]),
        attempts: Vec::new(),
        counted_anew: Vec::new(),
    };
    followed.configuration(shared, &own)?;
    // The facts of a day that is gone may not be there any more.
    let missing = followed.state.dropped.last > own.sequence;
    let searched = followed.state.format >= search::SINCE_FORMAT;
    if missing || to.sequence.0 - own.sequence.0 > FACTS_FOLLOWED_MAX {
        followed.reload(shared)?;
    } else {
        let block = shared.block.load_full().filter(|_| searched);
        followed.block = block.map(Arc::unwrap_or_clone);
        followed.traffic(shared.rows(), &own)?;
    }
    if searched && followed.block.is_none() {
        followed.block = Some(search::load(shared.rows(), to)?);
    }
    Ok(Some(followed))
}

impl Followed {
    fn configuration(&mut self, shared: &Shared, own: &Head) -> Result<(), LogError> {
        let mut hash = own.configuration;
        pages(shared.rows(), Table::Configuration, own.sequence, self.head.sequence, |row| {
            let fact = read_fact(row)?;
            if fact.prev_hash != hash {
                return Err(LogError::Changed { sequence: fact.sequence });
            }
            hash = hash_of(row)?;
            self.configuration_fact(shared, &fact)
        })?;
        if hash != self.head.configuration {
            return Err(LogError::Changed { sequence: self.state.sequence });
        }
        Ok(())
    }

    fn configuration_fact(&mut self, shared: &Shared, fact: &Fact) -> Result<(), LogError> {
        self.note(fact);
        match &fact.body {
            FactBody::FormatRaised { format } if *format > FORMAT => {
                return Err(LogError::Format { found: *format, known: FORMAT });
            }
            FactBody::SecretStored(secret) => {
                // One that was erased since has no row, and a later fact says so.
                if let Some(row) = shared.rows().get(Table::Secrets, &secret.id.to_bytes())? {
                    let open =
                        shared.sealer.load().open(secret.id, &row).ok_or(LogError::Sealed)?;
                    Arc::make_mut(&mut self.vault).insert(secret.id, open);
                }
            }
            FactBody::SecretErased { id } => _ = Arc::make_mut(&mut self.vault).remove(id),
            FactBody::SubscriptionRemoved { number } => self.removed.push(*number),
            _ => {}
        }
        self.counted_anew.extend(tally::counted_anew(&fact.body));
        Arc::make_mut(&mut self.state).apply(fact.sequence, &fact.body);
        Ok(())
    }

    fn traffic(&mut self, rows: &dyn Rows, own: &Head) -> Result<(), LogError> {
        let closed = self.state.buckets.iter().filter(|(_, closed)| closed.last > own.sequence);
        let days: BTreeSet<Bucket> = closed.map(|(day, _)| *day).chain(self.head.bucket).collect();
        let (mut hash, mut gone) = (own.traffic, Vec::new());
        for day in days {
            pages(rows, Table::Traffic(day), own.sequence, self.head.sequence, |row| {
                let fact = read_fact(row)?;
                if fact.prev_hash != hash {
                    return Err(LogError::Changed { sequence: fact.sequence });
                }
                hash = hash_of(row)?;
                self.traffic_fact(&fact, day);
                if let FactBody::PayloadRemoved { event, .. } = &fact.body {
                    gone.push(*event);
                }
                Ok(())
            })?;
        }
        if hash != self.head.traffic {
            return Err(LogError::Changed { sequence: self.head.last_traffic });
        }
        // Whoever wrote the facts wrote the rows of the blocks that ended.
        let closed = self.state.buckets.keys().next_back().copied();
        self.block = self.block.take().map(|block| match closed {
            Some(day) if block.ends_with(day) => OpenBlock::default(),
            Some(_) | None => block,
        });
        for event in gone {
            self.gone.extend(read_event(rows, event)?.map(|row| row.sequence));
        }
        Ok(())
    }

    fn note(&mut self, fact: &Fact) {
        if fact.body.is_notable(self.state.format) {
            self.notable = self.notable.max(Some(fact.sequence));
        }
    }

    fn traffic_fact(&mut self, fact: &Fact, day: Bucket) {
        self.note(fact);
        if let Some(block) = &mut self.block {
            block.next(fact.sequence, day, &fact.body);
        }
        match &fact.body {
            FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. } => {
                self.newest_event = self.newest_event.max(event.id);
                for lane in &event.lanes {
                    self.lanes.entry(*lane).or_default().head = Some(fact.sequence);
                }
            }
            FactBody::EventQuarantined { event, .. } => {
                self.newest_event = self.newest_event.max(event.id);
            }
            FactBody::AttemptRecorded { delivery, attempt, next } => {
                let number = delivery.lane.subscription();
                let told = tells(attempt.cause).map(|up| (number, up, fact.time));
                self.attempts.extend(told);
                if let Next::Retry(due) = next {
                    self.due(delivery.lane, *due);
                }
            }
            FactBody::DeliveryResent { delivery } => self.due(delivery.lane, fact.time),
            FactBody::DeliveriesMade { lanes, .. } => {
                for lane in lanes {
                    self.lanes.entry(*lane).or_default().head = Some(fact.sequence);
                }
            }
            // Nothing of what is in memory changes by the others.
            _ => {}
        }
    }

    fn due(&mut self, lane: LaneId, due: Timestamp) {
        let gain = self.lanes.entry(lane).or_default();
        gain.due = Some(gain.due.map_or(due, |earliest| earliest.min(due)));
    }

    fn reload(&mut self, shared: &Shared) -> Result<(), LogError> {
        let rows = shared.rows();
        self.reloaded = Some(LaneTable::load(rows, self.state.subscriptions.keys().copied())?);
        self.newest_event = newest_event(rows)?;
        self.notable = Some(self.head.sequence);
        // What was not read was not counted either.
        self.counted_anew.extend(self.state.subscriptions.keys());
        // Among all that was written, some may have been removed.
        self.gone = shared.recent.sequences();
        Ok(())
    }
}

/// The newest event id of the log.
pub fn newest_event(rows: &dyn Rows) -> Result<EventId, LogError> {
    let newest = rows.scan(&Scan::all(Table::EventIds, 1).reversed())?;
    let key = newest.first().and_then(|(key, _)| key.as_ref().try_into().ok());
    Ok(EventId::from_bytes(key.unwrap_or_default()))
}

/// Takes in the cursors that others have moved: a lane that they fed has less work here, too.
pub fn follow_cursors(shared: &Shared) -> Result<(), LogError> {
    let mut scan = Scan::all(Table::Cursors, PAGE_ROWS);
    loop {
        let rows = shared.store.scan(&scan)?;
        let mut lanes = shared.lanes();
        for (key, row) in &rows {
            match (tables::cursor_of(key), tables::sequence_of(row)) {
                (Some(CursorOf::Lane(lane)), Some(cursor)) => lanes.follow(lane, cursor),
                (Some(CursorOf::Follower(follower)), Some(cursor)) => {
                    shared.followers().follow(follower, cursor);
                }
                (None, _) | (_, None) => {}
            }
        }
        drop(lanes);
        match rows.last() {
            Some((key, _)) if rows.len() == PAGE_ROWS => scan = scan.after(key),
            Some(_) | None => return Ok(()),
        }
    }
}

/// Goes through the facts after `after` up to `to`, which are there: the head says so.
fn pages(
    rows: &dyn Rows,
    table: Table,
    after: Sequence,
    to: Sequence,
    mut each: impl FnMut(&Row) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut after = tables::sequence_key(after);
    let end = tables::sequence_key(Sequence(to.0.saturating_add(1)));
    loop {
        let page = rows.scan(&Scan::all(table, PAGE_ROWS).after(&after).before(&end))?;
        page.iter().try_for_each(&mut each)?;
        match page.last().and_then(|(key, _)| key.as_ref().try_into().ok()) {
            Some(last) if page.len() == PAGE_ROWS => after = last,
            Some(_) | None => return Ok(()),
        }
    }
}
