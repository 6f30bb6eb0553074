//! The port [`Log`]: facts in order, from both chains, and the cursors of those who follow them.

use crate::{
    fact::{Bucket, Chain, FactBody, Hash},
    log::{LogError, read_fact},
    service::MasterApi,
    shared::Shared,
    store::{Scan, Table},
    tables::{self, Head},
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    id::Sequence,
    limits::NAME_LENGTH_MAX,
    log::{LogHead, LogPage, LogQuery, LoggedFact},
    master_api::Log,
};
use std::collections::VecDeque;
use tokio::time::{Instant, timeout_at};

/// Facts that one request looks at before it answers with what it has.
const FACTS_LOOKED_AT_MAX: usize = 10_000;
/// Bytes of stored facts in one answer; as JSON they are some times that.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Rows read at once.
const ROWS_PER_SCAN: usize = 256;

#[async_trait]
impl Log for MasterApi {
    async fn facts(&self, mut query: LogQuery) -> Result<LogPage> {
        query.filter.check()?;
        let until = Instant::now() + query.patience();
        // All facts of the configuration are notable.
        let rare = query.filter.notable || query.filter.chain == Some(Chain::Configuration);
        let tip = if rare { &self.shared.notable } else { &self.shared.tip };
        let mut tip = tip.subscribe();
        loop {
            let asked = query.clone();
            let page = self.blocking(move |shared| read(shared, &asked)).await?;
            let read_to = page.read_to;
            if !page.facts.is_empty() || page.more {
                return Ok(page);
            }
            match timeout_at(until, tip.wait_for(|newest| *newest > read_to)).await {
                Ok(Ok(_)) => query.after = read_to,
                Ok(Err(_)) | Err(_) => return Ok(page),
            }
        }
    }

    async fn log_head(&self) -> Result<LogHead> {
        let Head { sequence, time, configuration, traffic, .. } = *self.shared.head();
        let (configuration_hash, traffic_hash) = (configuration.to_string(), traffic.to_string());
        Ok(LogHead { sequence, time, configuration_hash, traffic_hash })
    }

    async fn cursor(&self, follower: &str) -> Result<Option<Sequence>> {
        if let Some(cursor) = self.shared.followers().cursor(follower) {
            return Ok(Some(cursor));
        }
        let key = tables::follower_key(follower);
        let row = self.shared.store.get(Table::Cursors, &key);
        let row = row.map_err(|error| super::failed(&error.into()))?;
        Ok(row.as_deref().and_then(tables::sequence_of))
    }

    async fn move_cursor(&self, follower: &str, to: Sequence) -> Result<()> {
        if follower.is_empty() || follower.len() > NAME_LENGTH_MAX {
            let text = format!("a follower's name has 1 to {NAME_LENGTH_MAX} bytes");
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        let before = self.cursor(follower).await?;
        self.shared.followers().advance(follower, before, to)
    }
}

fn read(shared: &Shared, query: &LogQuery) -> Result<LogPage, LogError> {
    let head = *shared.head();
    let mut after = query.after;
    if let Some(since) = query.filter.since {
        after = after.max(before(shared, &head, after, since)?);
    }
    let rows = usize::try_from(query.rows()).unwrap_or(usize::MAX);
    let mut chains = Chains::new(shared, &head, after, query.filter.notable);
    chains.only(query.filter.chain);
    let mut page = LogPage { read_to: after, head: head.sequence, ..LogPage::default() };
    let (mut looked_at, mut bytes) = (0, 0);
    while page.facts.len() < rows && looked_at < FACTS_LOOKED_AT_MAX && bytes < PAGE_BYTES_MAX {
        let Some((sequence, row)) = chains.next(shared)? else {
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
fn before(
    shared: &Shared,
    head: &Head,
    after: Sequence,
    since: Timestamp,
) -> Result<Sequence, LogError> {
    let (mut low, mut high) = (after.0, head.sequence.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let next = Chains::new(shared, head, Sequence(middle), false).next(shared)?;
        match next {
            Some((sequence, Some(row))) if time_of(sequence, &row)? < since => low = sequence.0,
            _ => high = middle,
        }
    }
    Ok(Sequence(low))
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
    let Hash(prev_hash) = fact.prev_hash;
    let (kind, body) = named(&fact.body);
    let (time, actor, prev_hash) = (fact.time, fact.actor, hex::encode(prev_hash));
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
struct Chains {
    configuration: Stream,
    traffic: Stream,
    end: Sequence,
}

/// One chain, read piece by piece from one table after the other.
struct Stream {
    tables: VecDeque<Table>,
    after: Sequence,
    rows: VecDeque<(Sequence, Bytes)>,
}

impl Chains {
    fn new(shared: &Shared, head: &Head, after: Sequence, notable: bool) -> Self {
        let stream = |tables| Stream { tables, after, rows: VecDeque::new() };
        let traffic = match notable {
            true => VecDeque::from([Table::Notable]),
            false => days(shared, head, after),
        };
        let configuration = VecDeque::from([Table::Configuration]);
        let (configuration, traffic) = (stream(configuration), stream(traffic));
        Self { configuration, traffic, end: head.sequence }
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
    fn next(&mut self, shared: &Shared) -> Result<Option<(Sequence, Option<Bytes>)>, LogError> {
        let configuration = self.configuration.peek(shared)?;
        let traffic = self.traffic.peek(shared)?;
        let stream = match (configuration, traffic) {
            (Some(configuration), Some(traffic)) if traffic < configuration => &mut self.traffic,
            (Some(_), _) => &mut self.configuration,
            (None, _) => &mut self.traffic,
        };
        let next = stream.rows.pop_front().filter(|(sequence, _)| *sequence <= self.end);
        let Some((sequence, row)) = next else { return Ok(None) };
        if stream.tables.front() != Some(&Table::Notable) {
            return Ok(Some((sequence, Some(row))));
        }
        let table = Table::Traffic(shared.bucket_of(sequence));
        Ok(Some((sequence, shared.store.get(table, &tables::sequence_key(sequence))?)))
    }
}

impl Stream {
    /// The position of the next row.
    fn peek(&mut self, shared: &Shared) -> Result<Option<Sequence>, LogError> {
        while self.rows.is_empty()
            && let Some(table) = self.tables.front()
        {
            let scan = Scan::all(*table, ROWS_PER_SCAN).after(&tables::sequence_key(self.after));
            let rows = shared.store.scan(&scan)?.into_iter();
            let rows = rows.filter_map(|(key, row)| Some((tables::sequence_of(&key)?, row)));
            self.rows = rows.collect();
            match self.rows.back() {
                Some((last, _)) => self.after = *last,
                None => _ = self.tables.pop_front(),
            }
        }
        Ok(self.rows.front().map(|(sequence, _)| *sequence))
    }
}

/// The days that hold traffic after a position, oldest first.
fn days(shared: &Shared, head: &Head, after: Sequence) -> VecDeque<Table> {
    let state = shared.state.load();
    let closed = state.buckets.iter().filter(|(_, closed)| closed.last > after);
    let mut days: Vec<Bucket> = closed.map(|(day, _)| *day).chain(head.bucket).collect();
    days.dedup();
    days.into_iter().map(Table::Traffic).collect()
}
