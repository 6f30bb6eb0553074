//! Looking through the log: facts of both chains in the order of their sequence, page by page.

use super::{Loaded, LogError, load, read_fact, twin::Twin};
use crate::{
    fact::{Bucket, Chain, FactBody},
    state::State,
    store::{Rows, Scan, Table},
    tables::{self, Head},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    id::Sequence,
    log::{LogPage, LogQuery, LoggedFact},
};
use std::{collections::VecDeque, path::Path};

/// Facts that one page looks at before it ends with what it has.
const FACTS_LOOKED_AT_MAX: usize = 10_000;
/// Bytes of stored facts in one page; as JSON they are some times that.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Rows read at once.
const ROWS_PER_SCAN: usize = 256;

/// The log of a server that is not running, to be looked through as it lies there.
#[derive(Debug)]
pub struct Archive {
    twin: Twin,
    loaded: Loaded,
}

impl Archive {
    /// Looks at a copy of the log in a data directory.
    pub fn open(data_dir: &Path) -> Result<Self, LogError> {
        let twin = Twin::of(data_dir)?;
        let loaded = load(twin.store()?)?;
        Ok(Self { twin, loaded })
    }

    /// Facts, as the port gives them; there is nothing to wait for.
    pub fn facts(&self, query: &LogQuery) -> Result<LogPage, LogError> {
        Look::new(self.twin.store()?, &self.loaded.head, &self.loaded.state).page(query)
    }
}

/// Rows with what says where they lie.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    rows: &'a dyn Rows,
    head: &'a Head,
    state: &'a State,
}

impl<'a> Look<'a> {
    /// At facts up to `head`; `state` is as of there or later.
    pub fn new(rows: &'a dyn Rows, head: &'a Head, state: &'a State) -> Self {
        Self { rows, head, state }
    }

    /// The facts that are wanted.
    pub fn page(self, query: &LogQuery) -> Result<LogPage, LogError> {
        let head = self.head;
        let mut after = query.after;
        if let Some(since) = query.filter.since {
            after = after.max(self.before(after, since)?);
        }
        let rows = usize::try_from(query.rows()).unwrap_or(usize::MAX);
        let mut chains = Chains::new(self, after, query.filter.notable);
        chains.only(query.filter.chain);
        let mut page = LogPage { read_to: after, head: head.sequence, ..LogPage::default() };
        let (mut looked_at, mut bytes) = (0, 0);
        while page.facts.len() < rows && looked_at < FACTS_LOOKED_AT_MAX && bytes < PAGE_BYTES_MAX {
            let Some((sequence, row)) = chains.next()? else {
                page.read_to = head.sequence.max(after);
                return Ok(page);
            };
            (page.read_to, looked_at) = (sequence, looked_at + 1);
            // Retention took the fact, and its row in the index with the next sweep.
            let Some(row) = row else { continue };
            let size = row.len();
            let fact = shown(sequence, row)?;
            if query.filter.wants(fact.chain, &fact.kind) {
                page.facts.push(fact);
                bytes += size;
            }
        }
        page.more = page.read_to < head.sequence;
        Ok(page)
    }

    /// The last position after `after` before which nothing is of `since` or later: times never fall
    /// from one fact to the next.
    fn before(self, after: Sequence, since: Timestamp) -> Result<Sequence, LogError> {
        let (mut low, mut high) = (after.0, self.head.sequence.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let next = Chains::new(self, Sequence(middle), false).next()?;
            match next {
                Some((sequence, Some(row))) if time_of(sequence, &row)? < since => low = sequence.0,
                _ => high = middle,
            }
        }
        Ok(Sequence(low))
    }

    /// The day that holds the traffic fact at `sequence`.
    fn bucket_of(self, sequence: Sequence) -> Bucket {
        let open = self.head.bucket.unwrap_or_default();
        self.state.closed_bucket_of(sequence).unwrap_or(open)
    }

    /// The days that hold traffic after a position, oldest first.
    fn days(self, after: Sequence) -> VecDeque<Table> {
        let closed = self
            .state
            .buckets
            .iter()
            .filter(|(day, closed)| closed.last > after && !self.state.dropped.day(**day));
        let mut days: Vec<Bucket> = closed.map(|(day, _)| *day).chain(self.head.bucket).collect();
        days.dedup();
        days.into_iter().map(Table::Traffic).collect()
    }
}

fn time_of(sequence: Sequence, row: &Bytes) -> Result<Timestamp, LogError> {
    let key = Bytes::copy_from_slice(&tables::sequence_key(sequence));
    Ok(read_fact(&(key, row.clone()))?.time)
}

/// A fact as everybody may see it.
fn shown(sequence: Sequence, row: Bytes) -> Result<LoggedFact, LogError> {
    let key = Bytes::copy_from_slice(&tables::sequence_key(sequence));
    let fact = read_fact(&(key, row))?;
    let chain = fact.body.chain();
    let (kind, body) = named(&fact.body);
    let (time, actor, prev_hash) = (fact.time, fact.actor, fact.prev_hash.to_string());
    Ok(LoggedFact { sequence, time, actor, chain, kind, body, prev_hash })
}

/// The name of a fact's kind, and what it says.
fn named(body: &FactBody) -> (String, serde_json::Value) {
    match serde_json::to_value(body) {
        // Enums are objects of one field: the name of the variant.
        Ok(serde_json::Value::Object(object)) => object.into_iter().next().unwrap_or_default(),
        Ok(other) => (String::new(), other),
        Err(error) => {
            tracing::error!(%error, "a fact has no JSON form");
            Default::default()
        }
    }
}

/// Both chains as one, in the order of the sequence, up to the head.
struct Chains<'a> {
    look: Look<'a>,
    configuration: Stream,
    traffic: Stream,
}

/// One chain, read piece by piece from one table after the other.
struct Stream {
    tables: VecDeque<Table>,
    after: Sequence,
    rows: VecDeque<(Sequence, Bytes)>,
}

impl<'a> Chains<'a> {
    fn new(look: Look<'a>, after: Sequence, notable: bool) -> Self {
        let stream = |tables| Stream { tables, after, rows: VecDeque::new() };
        let traffic = match notable {
            true => VecDeque::from([Table::Notable]),
            false => look.days(after),
        };
        let configuration = VecDeque::from([Table::Configuration]);
        let (configuration, traffic) = (stream(configuration), stream(traffic));
        Self { look, configuration, traffic }
    }

    /// Leaves out the other chain.
    fn only(&mut self, chain: Option<Chain>) {
        match chain {
            Some(Chain::Configuration) => self.traffic.tables.clear(),
            Some(Chain::Traffic) => self.configuration.tables.clear(),
            None => {}
        }
    }

    /// The next fact's row; its place without a row if only the index knows of it.
    fn next(&mut self) -> Result<Option<(Sequence, Option<Bytes>)>, LogError> {
        let configuration = self.configuration.peek(self.look.rows)?;
        let traffic = self.traffic.peek(self.look.rows)?;
        let stream = match (configuration, traffic) {
            (Some(configuration), Some(traffic)) if traffic < configuration => &mut self.traffic,
            (Some(_), _) => &mut self.configuration,
            (None, _) => &mut self.traffic,
        };
        let next =
            stream.rows.pop_front().filter(|(sequence, _)| *sequence <= self.look.head.sequence);
        let Some((sequence, row)) = next else { return Ok(None) };
        if stream.tables.front() != Some(&Table::Notable) {
            return Ok(Some((sequence, Some(row))));
        }
        let table = Table::Traffic(self.look.bucket_of(sequence));
        Ok(Some((sequence, self.look.rows.get(table, &tables::sequence_key(sequence))?)))
    }
}

impl Stream {
    /// The position of the next row.
    fn peek(&mut self, rows: &dyn Rows) -> Result<Option<Sequence>, LogError> {
        while self.rows.is_empty()
            && let Some(table) = self.tables.front()
        {
            let scan = Scan::all(*table, ROWS_PER_SCAN).after(&tables::sequence_key(self.after));
            let found = rows.scan(&scan)?.into_iter();
            let found = found.filter_map(|(key, row)| Some((tables::sequence_of(&key)?, row)));
            self.rows = found.collect();
            match self.rows.back() {
                Some((last, _)) => self.after = *last,
                None => _ = self.tables.pop_front(),
            }
        }
        Ok(self.rows.front().map(|(sequence, _)| *sequence))
    }
}
