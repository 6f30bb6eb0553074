//! Going through all facts in order: are they whole, does each follow the one before it, and what do
//! they lead to?

use super::{
    LogError,
    erasures::{event_of, is_of},
    pages::all_rows,
    stretches::{self, Facts, Payload, Seen},
    verify::Report,
};
use crate::{
    fact::{Bucket, Chain, Fact, FactBody, Hash, StoredEvent},
    project::Projector,
    search::SINCE_FORMAT,
    state::{Dropped, Losses, State},
    store::{Batch, Row, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, Head},
};
use bytes::Bytes;
use contract::{
    event::Audience,
    id::{EventId, Sequence},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    sync::Arc,
};

/// Facts between two writes of what they lead to.
const FACTS_PER_BATCH: u64 = 4096;

/// Takes what the facts lead to, and gives it again.
pub(super) trait Sink: Rows {
    /// Takes in what has become of the rows.
    fn take(&self, batch: Batch) -> Result<(), StoreError>;
}

/// A store that gets all of it.
pub(super) struct Whole<'a>(pub(super) &'a dyn StateStore);

impl Rows for Whole<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.0.scan(scan)
    }
}

impl Sink for Whole<'_> {
    fn take(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }
}

/// Goes through all facts in order and builds up what they lead to.
pub(super) struct Walk<'a> {
    rows: &'a dyn Rows,
    sink: &'a dyn Sink,
    projector: Projector<'a>,
    /// What is wrong.
    pub(super) report: Report,
    /// What the configuration facts so far lead to.
    pub(super) state: State,
    /// The head that the facts so far lead to.
    pub(super) head: Head,
    /// What is known to be lost.
    losses: Losses,
    /// What retention has dropped.
    dropped: Dropped,
    /// Chains whose next fact follows one that is lost.
    resumed: BTreeSet<Chain>,
    /// Something of the day that is open is lost.
    day_has_gap: bool,
    /// Facts of the day at hand that went with it, and the last of them.
    absent: (u64, Sequence),
    /// Events whose payload is not there, with their audience and where they were taken; what
    /// removed it has to follow.
    bare: BTreeMap<EventId, (Audience, Sequence)>,
    tell: &'a dyn Fn(u64),
}

impl<'a> Walk<'a> {
    /// Of `rows`; what they lead to goes into `sink`, which has to be empty of it. `tell` hears now
    /// and then how many facts were gone through. Nobody misses what is among the losses, or
    /// went with the days that retention has dropped.
    pub(super) fn new(
        rows: &'a dyn Rows,
        sink: &'a dyn Sink,
        (losses, dropped): (Losses, Dropped),
        tell: &'a dyn Fn(u64),
    ) -> Self {
        let (stats, format) = (Head::default().stats, State::default().format);
        // From the first fact on, whichever format brought the index: those before it are in it.
        let block = Some(Arc::default());
        Self {
            rows,
            sink,
            projector: Projector::new(as_rows(sink), stats, dropped, format, block),
            report: Report::default(),
            state: State::default(),
            head: Head::default(),
            losses,
            dropped,
            resumed: BTreeSet::new(),
            day_has_gap: false,
            absent: (0, Sequence(0)),
            bare: BTreeMap::new(),
            tell,
        }
    }

    /// What has to be settled by the end of the log.
    pub(super) fn ended(&mut self) {
        if self.absent.0 > 0 {
            self.report.problem(format!("{} facts are missing and of no day", self.absent.0));
        }
        for (id, (audience, taken)) in std::mem::take(&mut self.bare) {
            // An erasure that is not done may have removed it and not come to say so.
            let mut orders = self.state.erasing.iter();
            if !orders.any(|(ordered, target)| is_of(target, *ordered, (id, &audience, taken))) {
                self.report.problem(format!("the payload of {id} is missing"));
            }
        }
    }

    /// The first event of the block that is open after the facts so far; 0: there is none.
    pub(super) fn open_block(&self) -> Sequence {
        self.projector.block.as_ref().map_or(Sequence(0), |block| block.first())
    }

    /// Goes through the facts of all these tables.
    pub(super) fn all_facts(&mut self, all_tables: &[Table]) -> Result<(), LogError> {
        let kept = |table: &Table| match table {
            Table::Traffic(day) if !self.dropped.day(*day) => Some(*day),
            _ => None,
        };
        let days: Vec<_> = all_tables.iter().filter_map(kept).collect();
        stretches::read(self.rows, &days, |traffic| self.both_chains(&traffic))?;
        self.flush()
    }

    fn both_chains(&mut self, traffic: &Facts) -> Result<(), LogError> {
        let configuration = all_rows(self.rows, iter::once(Table::Configuration));
        let mut configuration = configuration.map(|row| {
            let (key, row) = row?;
            Seen::of(None, &key, &row)
        });
        let mut next = configuration.next().transpose()?;
        while let Some(stretch) = traffic.next()? {
            for seen in &stretch {
                while let Some(first) =
                    next.take_if(|next| next.fact.sequence <= seen.fact.sequence)
                {
                    self.fact(&first)?;
                    next = configuration.next().transpose()?;
                }
                self.fact(seen)?;
            }
            traffic.spend(stretch);
        }
        while let Some(first) = next {
            self.fact(&first)?;
            next = configuration.next().transpose()?;
        }
        Ok(())
    }

    fn fact(&mut self, seen: &Seen) -> Result<(), LogError> {
        let fact = &seen.fact;
        let expected = Sequence(self.head.sequence.0 + 1);
        if fact.sequence != expected {
            let found = fact.sequence;
            let before = Sequence(found.0.saturating_sub(1));
            let kept = expected.max(Sequence(self.dropped.last.0 + 1));
            if found > expected && (kept > before || self.losses.cover(kept, before)) {
                self.gap(expected, before);
            } else {
                self.report.problem(format!("fact {expected} is missing: {found} comes next"));
            }
        }
        if fact.time < self.head.time {
            self.report.problem(format!("fact {} is older than the one before it", fact.sequence));
        }
        let chain = if seen.day.is_some() { Chain::Traffic } else { Chain::Configuration };
        if fact.body.chain() != chain {
            self.report.problem(format!("fact {} is in the wrong chain", fact.sequence));
        }
        match chain {
            Chain::Configuration => self.configuration_fact(fact, seen.hash)?,
            Chain::Traffic => self.traffic_fact(seen)?,
        }
        self.report.facts += 1;
        self.head.sequence = fact.sequence;
        self.head.time = fact.time;
        match self.report.facts.is_multiple_of(FACTS_PER_BATCH) {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Facts that are not there, and need not be.
    fn gap(&mut self, first: Sequence, last: Sequence) {
        let dropped = last.min(self.dropped.last);
        if first <= dropped {
            self.absent = (self.absent.0 + (dropped.0 - first.0 + 1), dropped);
        }
        if self.losses.touch(first, last) {
            self.resumed = BTreeSet::from([Chain::Configuration, Chain::Traffic]);
            self.day_has_gap = true;
        }
    }

    fn configuration_fact(&mut self, fact: &Fact, hash: Hash) -> Result<(), LogError> {
        let resumed = self.resumed.remove(&Chain::Configuration);
        if fact.prev_hash != self.head.configuration && !resumed {
            self.report.problem(format!("fact {} does not follow in its chain", fact.sequence));
        }
        if let FactBody::BucketClosed { bucket, count, last, hash } = &fact.body {
            self.end_of_day(*bucket, (*count, *last, *hash));
            self.projector.end_day(*bucket)?;
        }
        self.head.configuration = hash;
        self.state.apply(fact.sequence, &fact.body);
        self.projector.format = self.state.format;
        Ok(())
    }

    fn end_of_day(&mut self, bucket: Bucket, (count, last, hash): (u64, Sequence, Hash)) {
        let whole = if self.dropped.day(bucket) {
            let absent = std::mem::take(&mut self.absent);
            (self.head.last_traffic, self.head.traffic) = (last, hash);
            self.report.dropped += count;
            absent == (count, last)
        } else {
            let Head { bucket_count, last_traffic, traffic, .. } = self.head;
            (self.head.bucket, bucket_count, last_traffic, traffic)
                == (Some(bucket), count, last, hash)
        };
        if !whole && !self.day_has_gap {
            self.report.problem(format!("day {bucket} is not as it was when it ended"));
        }
        (self.head.bucket, self.head.bucket_count) = (None, 0);
        self.day_has_gap = false;
    }

    fn traffic_fact(&mut self, seen: &Seen) -> Result<(), LogError> {
        let fact = &seen.fact;
        let bucket = Bucket::of(fact.time);
        let resumed = self.resumed.remove(&Chain::Traffic);
        if fact.prev_hash != self.head.traffic && !resumed {
            self.report.problem(format!("fact {} does not follow in its chain", fact.sequence));
        }
        if seen.day != Some(bucket) {
            self.report.problem(format!("fact {} is not in the table of its day", fact.sequence));
        }
        if self.head.bucket != Some(bucket) {
            let open = |old: &Bucket| !self.state.buckets.contains_key(old) && !self.day_has_gap;
            if let Some(old) = self.head.bucket.filter(open) {
                self.report.problem(format!("day {old} ended without a word"));
            }
            (self.head.bucket, self.head.bucket_count) = (Some(bucket), 0);
            self.day_has_gap = resumed;
        }
        self.head.bucket_count += 1;
        self.head.last_traffic = fact.sequence;
        self.head.traffic = seen.hash;
        self.state.apply(fact.sequence, &fact.body);
        if let Some((event, taken)) = event_of(fact) {
            match &seen.payload {
                Some(payload) if seen.day == Some(bucket) => self.payload(payload, event),
                None if seen.day == Some(bucket) => self.no_payload(event, taken),
                // It lies with the fact's own day, wherever the fact does.
                _ => {
                    let key = tables::sequence_key(fact.sequence);
                    match self.rows.get(Table::Payloads(bucket), &key)? {
                        Some(row) => self.payload(&Payload::of(&row), event),
                        None => self.no_payload(event, taken),
                    }
                }
            }
        }
        if let FactBody::PayloadRemoved { event, .. } = &fact.body
            && self.bare.remove(event).is_none()
            && !self.losses.payloads.contains(event)
            && self.projector.event(*event)?.is_some()
        {
            self.report.problem(format!("the payload of {event} is there, but was removed"));
        }
        self.projector.apply((fact.sequence, fact.time, bucket), &fact.body)
    }

    fn payload(&mut self, found: &Payload, event: &StoredEvent) {
        if found.digest != event.payload_digest || found.size != event.size {
            self.report.problem(format!("the payload of {} was changed", event.id));
        }
    }

    fn no_payload(&mut self, event: &StoredEvent, taken: Sequence) {
        if !self.losses.payloads.contains(&event.id) {
            self.bare.insert(event.id, (event.audience.clone(), taken));
        }
    }

    /// Hands over what they lead to so far, so that memory stays small.
    fn flush(&mut self) -> Result<(), LogError> {
        self.projector.finish()?;
        self.sink.take(std::mem::take(&mut self.projector.batch))?;
        self.projector.lanes.clear();
        self.head.stats = self.projector.stats;
        let searched = self.state.format >= SINCE_FORMAT;
        self.head.open_block = if searched { self.open_block() } else { Sequence(0) };
        (self.tell)(self.report.facts);
        Ok(())
    }
}

fn as_rows(sink: &dyn Sink) -> &dyn Rows {
    sink
}
