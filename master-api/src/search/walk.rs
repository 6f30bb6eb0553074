//! Looking for events, from the newest down.

use super::block::{
    ACCEPTED, CARRIED, Entry, OpenBlock, QUARANTINED, SUMMARY, Summary, columns_key,
    direction_flag, entries, key, key_hash, short,
};
use crate::{
    fact::Bucket,
    log::{LogError, read_fact},
    project::decode,
    store::{Rows, Scan, Table},
    tables,
};
use contract::{
    event::{Audience, EventState, Origin},
    id::Sequence,
    master_api::EventFilter,
};
use std::ops::ControlFlow;

/// Summaries that are read at once.
const SUMMARIES_PER_SCAN: usize = 64;
/// Facts that are read at once where there is no index: fewer than a block has room for names.
const FACTS_PER_SCAN: usize = 256;
/// What the columns of a block count for, in rows.
const COLUMNS_COST: usize = 4;

/// What is looked for.
#[derive(Debug, Default)]
pub struct Query {
    /// All given conditions hold together.
    pub filter: EventFilter,
    /// For one of these; None: for anybody.
    pub audiences: Option<Vec<Audience>>,
    /// Only events before this position.
    pub before: Option<Sequence>,
    /// Only events from this position on.
    pub from: Sequence,
    /// Only events before this position, and those that were carried beyond it: they may have been
    /// taken before it.
    pub until: Option<Sequence>,
    /// Rows that may be looked at.
    pub rows_max: usize,
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// Nothing is left.
    Through,
    /// There may be more before this position.
    Before(Sequence),
}

/// Hears of the place of an event that fits, as far as the columns tell: it may have another one
/// since. Says how many rows it cost, or that it is enough.
pub type Visit<'a> =
    &'a mut dyn FnMut((Bucket, Sequence)) -> Result<ControlFlow<(), usize>, LogError>;

/// Visits the events that fit, newest first, until the visitor breaks, or too many rows were looked
/// at. `buckets` are the days of the log.
pub fn walk(
    rows: &dyn Rows,
    open: &OpenBlock,
    buckets: impl DoubleEndedIterator<Item = Bucket>,
    query: &Query,
    visit: Visit<'_>,
) -> Result<Walked, LogError> {
    let mut walk = Walk::new(query, visit);
    // The open block was read before the rows: what was closed since is a part of it.
    let mut upto = walk.before;
    if open.first() != Sequence(0) {
        let entries = || Ok(open.entries.clone());
        if let Some(at) = walk.block(open.bucket(), &open.summary, true, entries)? {
            return Ok(Walked::Before(at));
        }
        upto = upto.min(open.first());
    }
    for bucket in newest_first(buckets, query) {
        if let Some(at) = walk.bucket(rows, bucket, upto)? {
            return Ok(Walked::Before(at));
        }
    }
    Ok(Walked::Through)
}

/// The same in a log without the index, from the facts themselves: while replicas live that write
/// none.
pub fn walk_facts(
    rows: &dyn Rows,
    buckets: impl DoubleEndedIterator<Item = Bucket>,
    query: &Query,
    visit: Visit<'_>,
) -> Result<Walked, LogError> {
    let mut walk = Walk::new(query, visit);
    for bucket in newest_first(buckets, query) {
        if let Some(at) = walk.bucket_of_facts(rows, bucket)? {
            return Ok(Walked::Before(at));
        }
    }
    Ok(Walked::Through)
}

/// The days that may hold what is looked for. Events reach the log after they were received; a day
/// is more than clocks differ.
fn newest_first(
    days: impl DoubleEndedIterator<Item = Bucket>,
    query: &Query,
) -> impl Iterator<Item = Bucket> {
    let since = query.filter.since;
    let oldest = since.map_or(0, |since| Bucket::of(since).0.saturating_sub(1));
    days.rev().take_while(move |bucket| bucket.0 >= oldest)
}

struct Walk<'a> {
    query: &'a Query,
    before: Sequence,
    cost: usize,
    visit: Visit<'a>,
}

impl<'a> Walk<'a> {
    fn new(query: &'a Query, visit: Visit<'a>) -> Self {
        Self { query, before: query.before.unwrap_or(Sequence(u64::MAX)), cost: 0, visit }
    }

    /// The events of a day, a page of facts taken for a block.
    fn bucket_of_facts(
        &mut self,
        rows: &dyn Rows,
        bucket: Bucket,
    ) -> Result<Option<Sequence>, LogError> {
        let mut upto = self.before;
        loop {
            let scan = Scan::all(Table::Traffic(bucket), FACTS_PER_SCAN);
            let page = rows.scan(&scan.before(&tables::sequence_key(upto)).reversed())?;
            let mut block = OpenBlock::default();
            for row in page.iter().rev() {
                let fact = read_fact(row)?;
                block.next(fact.sequence, bucket, &fact.body);
            }
            let Some(first) = page.last().and_then(|(key, _)| tables::sequence_of(key)) else {
                return Ok(None);
            };
            upto = first;
            self.cost += page.len();
            let entries = || Ok(block.entries.clone());
            if block.first() != Sequence(0)
                && let Some(at) = self.block(bucket, &block.summary, true, entries)?
            {
                return Ok(Some(at));
            }
            if self.cost >= self.query.rows_max {
                return Ok(Some(upto));
            }
            if upto <= self.query.from {
                return Ok(None);
            }
        }
    }

    /// The closed blocks of a day that begin before `upto`.
    fn bucket(
        &mut self,
        rows: &dyn Rows,
        bucket: Bucket,
        mut upto: Sequence,
    ) -> Result<Option<Sequence>, LogError> {
        let table = Table::Search(bucket);
        loop {
            let scan = Scan::prefix(table, &[SUMMARY], SUMMARIES_PER_SCAN);
            let page = rows.scan(&scan.before(&key(SUMMARY, upto)).reversed())?;
            if page.is_empty() {
                return Ok(None);
            }
            for (_, row) in page {
                let summary: Summary = decode("block", &row)?;
                upto = summary.first;
                let columns = || {
                    let row = rows.get(table, &columns_key(summary.first))?.unwrap_or_default();
                    Ok(entries(summary.first, &row))
                };
                if let Some(at) = self.block(bucket, &summary, false, columns)? {
                    return Ok(Some(at));
                }
                if upto <= self.query.from {
                    return Ok(None);
                }
            }
        }
    }

    /// The events of a block that fit; Some: the walk ends there.
    fn block(
        &mut self,
        bucket: Bucket,
        summary: &Summary,
        open: bool,
        columns: impl FnOnce() -> Result<Vec<Entry>, LogError>,
    ) -> Result<Option<Sequence>, LogError> {
        self.cost += 1;
        let until = self.query.until.unwrap_or(Sequence(u64::MAX));
        if let Some(wanted) = Wanted::of(self.query, summary, open) {
            self.cost += COLUMNS_COST;
            for entry in columns()?.into_iter().rev() {
                let sequence = entry.sequence;
                let within = sequence < self.before && sequence >= self.query.from;
                let within = within && (sequence < until || entry.flags & CARRIED != 0);
                if !within || !wanted.takes(&entry) {
                    continue;
                }
                match (self.visit)((bucket, sequence))? {
                    ControlFlow::Break(()) => return Ok(Some(sequence)),
                    ControlFlow::Continue(cost) => self.cost += cost,
                }
                if self.cost >= self.query.rows_max {
                    return Ok(Some(sequence));
                }
            }
        }
        let spent = self.cost >= self.query.rows_max;
        Ok(spent.then_some(summary.first.min(self.before)))
    }
}

/// What is looked for, in the words of one block.
struct Wanted<'a> {
    filter: &'a EventFilter,
    names: [Option<Vec<bool>>; 3],
    flags: u8,
    key: Option<u32>,
}

impl<'a> Wanted<'a> {
    /// None: the block holds nothing of it.
    fn of(query: &'a Query, summary: &Summary, open: bool) -> Option<Self> {
        let EventFilter { uri, prefix, source, producer, subscriber, state, direction, .. } =
            &query.filter;
        let typed = (uri.is_some() || prefix.is_some()).then(|| {
            let fits = |found: &contract::uri::EventUri| {
                uri.as_ref().is_none_or(|wanted| wanted.matches(found))
                    && prefix.as_ref().is_none_or(|start| found.as_str().starts_with(start))
            };
            summary.types.iter().map(fits).collect()
        });
        let from = (source.is_some() || producer.is_some()).then(|| {
            let fits = |found: &Origin| match found {
                Origin::Source(name) => source.as_ref() == Some(name) && producer.is_none(),
                Origin::Producer(key) => source.is_none() && producer.as_ref() == Some(key),
                Origin::Server => false,
            };
            summary.origins.iter().map(fits).collect()
        });
        let audiences = query.audiences.as_ref();
        let for_whom = (audiences.is_some() || subscriber.is_some()).then(|| {
            let fits = |found: &Audience| {
                audiences.is_none_or(|all| all.contains(found))
                    && subscriber.as_ref().is_none_or(|id| addressed(found, id))
            };
            summary.audiences.iter().map(fits).collect()
        });
        let names: [Option<Vec<bool>>; 3] = [typed, from, for_whom];
        if names.iter().flatten().any(|fits| !fits.contains(&true)) {
            return None;
        }
        let state = state.map_or(0, |state| match state {
            EventState::Accepted => ACCEPTED,
            EventState::Quarantined => QUARANTINED,
        });
        let flags = state | direction.map_or(0, direction_flag);
        let (earliest, latest) = summary.received;
        let in_time = query.filter.since.is_none_or(|since| latest >= since)
            && query.filter.until.is_none_or(|until| earliest < until);
        let key = query.filter.idempotency_key.as_deref().map(key_hash);
        let keyed = key.is_none_or(|key| open || summary.may_hold(key));
        let within = query.until.is_none_or(|until| summary.first < until);
        let within = within || summary.flags & CARRIED != 0;
        let fits = within && in_time && keyed && summary.flags & flags == flags;
        fits.then(|| Self { filter: &query.filter, names, flags, key: key.map(short) })
    }

    fn takes(&self, entry: &Entry) -> bool {
        let named = self.names.iter().zip(entry.names).all(|(fits, name)| {
            fits.as_ref().is_none_or(|fits| fits.get(usize::from(name)) == Some(&true))
        });
        named
            && entry.flags & self.flags == self.flags
            && self.key.is_none_or(|key| key == entry.key)
            && self.filter.since.is_none_or(|since| entry.received >= since)
            && self.filter.until.is_none_or(|until| entry.received < until)
    }
}

/// Is it addressed to `id`? `*` stands for an event to all.
fn addressed(audience: &Audience, id: &str) -> bool {
    match audience {
        Audience::Own => false,
        Audience::Subscriber(to) => to == id,
        Audience::All => id == "*",
    }
}
