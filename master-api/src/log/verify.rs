//! The proof that the log is whole, and that everything else agrees with it.

use super::{
    LogError,
    agree::{Leftovers, check_idempotency, check_secret_key, check_secrets, compare},
    erasures::{event_of, is_of},
    hash_of, head_file, load, read_fact,
    twin::Twin,
};
use crate::{
    fact::{Bucket, Chain, Fact, FactBody, Hash, StoredEvent},
    project::Projector,
    search::SINCE_FORMAT,
    secrets::SECRET_KEY_FILE,
    state::{Dropped, Losses, State},
    store::{Embedded, Row, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, Head, SALT_LENGTH},
};
use contract::{
    event::Audience,
    id::{EventId, Sequence},
};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    path::Path,
    sync::Arc,
};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Facts of both chains.
    pub facts: u64,
    /// Facts that went with the days that retention has dropped.
    pub dropped: u64,
    /// Where the log ends.
    pub head: Sequence,
    /// One sentence for each thing that is wrong, at most 100; none: all is well.
    pub problems: Vec<String>,
    /// What is not wrong, but has to be known before the server starts.
    pub notes: Vec<String>,
}

/// Problems that are listed.
pub const PROBLEMS_MAX: usize = 100;
/// Facts between two writes of the rebuilt indices.
const FACTS_PER_BATCH: u64 = 4096;

/// Verifies the log in a data directory, in a copy of it. The server must not run. The copy of
/// the journals and the rebuilt indices need space beside it, for as long as it takes.
pub fn verify(data_dir: &Path) -> Result<Report, LogError> {
    let twin = Twin::of(data_dir)?;
    let store = twin.store()?;
    let scratch = Embedded::open(&twin.beside("indices"), 64 << 20)?;
    let mut report = verify_rows(store, &store.tables(), &scratch, None)?;
    drop(scratch);
    if let Err(error) = head_file::vouch(data_dir, store, &load(store)?) {
        report.problem(error.to_string());
    }
    check_secret_key(&data_dir.join(SECRET_KEY_FILE), store, &mut report);
    Ok(report)
}

/// Verifies rows that nobody changes meanwhile. `scratch` is an empty store for the rebuilt
/// indices; `live` is the state of a running server, compared if it is as of the same fact.
pub fn verify_rows(
    rows: &dyn Rows,
    all_tables: &[Table],
    scratch: &dyn StateStore,
    live: Option<&State>,
) -> Result<Report, LogError> {
    let loaded = load(rows)?;
    let dropped = loaded.state.dropped;
    let mut walk = Walk::new(rows, scratch, (loaded.state.losses.clone(), dropped), &|_facts| ());
    walk.all_facts(all_tables)?;
    walk.ended();
    let Walk { mut report, state, head, .. } = walk;
    if head != loaded.head {
        report.problem(format!("the head is {:?}, but the facts lead to {head:?}", loaded.head));
    }
    if live.is_some_and(|live| live.sequence == state.sequence && *live != state) {
        report.problem("the state in memory is not the one that the facts lead to".into());
    }
    if load::stored_format(rows)? != state.format {
        report.problem("the stored format is not the one that the facts name".into());
    }
    // A day that is gone and still has its facts is being swept.
    let swept = |table: &Table| matches!(table, Table::Traffic(day) if dropped.day(*day));
    let leftovers = Leftovers { dropped, allowed: all_tables.iter().any(swept) };
    let days = all_tables.iter().copied().chain(scratch.tables());
    let searched = |table: &Table| {
        let kept = matches!(table, Table::Search(day) if !dropped.day(*day));
        kept && state.format >= SINCE_FORMAT
    };
    let days: BTreeSet<_> = days.filter(searched).collect();
    for table in tables::READ_MODELS.into_iter().chain(days) {
        compare((rows, scratch), table, leftovers, &mut report)?;
    }
    let kept = all_tables.iter().filter(|table| !table.day().is_some_and(|day| dropped.day(day)));
    check_idempotency(rows, kept, &mut report)?;
    check_secrets(rows, &state, &mut report)?;
    report.head = head.sequence;
    Ok(report)
}

impl Report {
    /// Takes note of something that is wrong.
    pub(super) fn problem(&mut self, sentence: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(sentence);
        }
    }
}

/// Goes through all facts in order and builds up what they lead to.
pub(super) struct Walk<'a> {
    rows: &'a dyn Rows,
    scratch: &'a dyn StateStore,
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
    /// Of `rows`; what they lead to goes into `scratch`, which has to be empty of it. `tell` hears
    /// now and then how many facts were gone through. Nobody misses what is among the losses, or
    /// went with the days that retention has dropped.
    pub(super) fn new(
        rows: &'a dyn Rows,
        scratch: &'a dyn StateStore,
        (losses, dropped): (Losses, Dropped),
        tell: &'a dyn Fn(u64),
    ) -> Self {
        let (stats, format) = (Head::default().stats, State::default().format);
        // From the first fact on, whichever format brought the index: those before it are in it.
        let block = Some(Arc::default());
        Self {
            rows,
            scratch,
            projector: Projector::new(as_rows(scratch), stats, dropped, format, block),
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
        let days: Vec<_> =
            all_tables.iter().filter(|table| self.is_kept_traffic(**table)).collect();
        let mut configuration =
            facts(self.rows, iter::once(Table::Configuration)).map(|row| (None, row)).peekable();
        let mut traffic = days
            .iter()
            .flat_map(|table| facts(self.rows, iter::once(**table)).map(|row| (Some(**table), row)))
            .peekable();
        loop {
            let of = |next: Option<&(_, Result<Row, StoreError>)>| match next {
                Some((_, Ok((key, _)))) => tables::sequence_of(key).unwrap_or_default().0,
                Some((_, Err(_))) => 0,
                None => u64::MAX,
            };
            let first = of(configuration.peek()) <= of(traffic.peek());
            let next = if first { configuration.next() } else { traffic.next() };
            let Some((table, row)) = next else { break };
            self.fact(table, &row?)?;
            if self.report.facts.is_multiple_of(FACTS_PER_BATCH) {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn is_kept_traffic(&self, table: Table) -> bool {
        matches!(table, Table::Traffic(day) if !self.dropped.day(day))
    }

    fn fact(&mut self, table: Option<Table>, row: &Row) -> Result<(), LogError> {
        let fact = read_fact(row)?;
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
        let chain = if table.is_some() { Chain::Traffic } else { Chain::Configuration };
        if fact.body.chain() != chain {
            self.report.problem(format!("fact {} is in the wrong chain", fact.sequence));
        }
        let hash = hash_of(row)?;
        match chain {
            Chain::Configuration => self.configuration_fact(&fact, hash)?,
            Chain::Traffic => self.traffic_fact(&fact, hash, table)?,
        }
        self.report.facts += 1;
        self.head.sequence = fact.sequence;
        self.head.time = fact.time;
        Ok(())
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

    fn traffic_fact(
        &mut self,
        fact: &Fact,
        hash: Hash,
        table: Option<Table>,
    ) -> Result<(), LogError> {
        let bucket = Bucket::of(fact.time);
        let resumed = self.resumed.remove(&Chain::Traffic);
        if fact.prev_hash != self.head.traffic && !resumed {
            self.report.problem(format!("fact {} does not follow in its chain", fact.sequence));
        }
        if table != Some(Table::Traffic(bucket)) {
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
        self.head.traffic = hash;
        self.state.apply(fact.sequence, &fact.body);
        if let Some((event, taken)) = event_of(fact) {
            self.payload((fact.sequence, bucket), event, taken)?;
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

    fn payload(
        &mut self,
        (sequence, bucket): (Sequence, Bucket),
        event: &StoredEvent,
        taken: Sequence,
    ) -> Result<(), LogError> {
        let row = self.rows.get(Table::Payloads(bucket), &tables::sequence_key(sequence))?;
        let Some(row) = row else {
            if !self.losses.payloads.contains(&event.id) {
                self.bare.insert(event.id, (event.audience.clone(), taken));
            }
            return Ok(());
        };
        let size = row.len().saturating_sub(SALT_LENGTH);
        let digest = Hash(Sha256::digest(&row).into());
        if digest != event.payload_digest || u64::try_from(size).ok() != Some(event.size) {
            self.report.problem(format!("the payload of {} was changed", event.id));
        }
        Ok(())
    }

    /// Writes what was rebuilt so far, so that memory stays small.
    fn flush(&mut self) -> Result<(), LogError> {
        self.projector.finish()?;
        self.scratch.commit(std::mem::take(&mut self.projector.batch))?;
        self.projector.lanes.clear();
        self.head.stats = self.projector.stats;
        let searched = self.state.format >= SINCE_FORMAT;
        self.head.open_block = if searched { self.open_block() } else { Sequence(0) };
        (self.tell)(self.report.facts);
        Ok(())
    }
}

pub(super) fn as_rows(store: &dyn StateStore) -> &dyn Rows {
    store
}

/// All rows of tables, read page by page.
pub(super) fn facts<'a>(
    rows: &'a dyn Rows,
    tables: impl Iterator<Item = Table> + 'a,
) -> impl Iterator<Item = Result<Row, StoreError>> + 'a {
    tables.flat_map(move |table| {
        let mut after = Some(Vec::new());
        let pages = iter::from_fn(move || {
            let scan = Scan::all(table, load::PAGE_ROWS).after(after.as_deref()?);
            let scan = scan.at_most(load::PAGE_BYTES);
            match rows.scan(&scan) {
                Ok(page) => {
                    after = page.last().map(|(key, _)| key.to_vec());
                    Some(page.into_iter().map(Ok).collect::<Vec<_>>())
                }
                Err(error) => {
                    after = None;
                    Some(vec![Err(error)])
                }
            }
        });
        pages.flatten()
    })
}
