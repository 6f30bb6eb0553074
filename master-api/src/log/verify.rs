//! The proof that the log is whole, and that everything else agrees with it.

use super::{LogError, hash_of, head_file, load, read_fact, twin::Twin};
use crate::{
    fact::{Bucket, Chain, Fact, FactBody, Hash, StoredEvent},
    project::Projector,
    search::SINCE_FORMAT,
    secrets::{SECRET_KEY_FILE, Sealer},
    state::State,
    store::{Embedded, Row, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, Head, IdempotencyRow, SALT_LENGTH},
};
use contract::id::Sequence;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, iter, path::Path, sync::Arc};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Facts of both chains.
    pub facts: u64,
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
    let mut walk = Walk::new(rows, scratch);
    walk.all_facts(all_tables)?;
    let Walk { mut report, state, mut head, .. } = walk;
    let searched = state.format >= SINCE_FORMAT;
    if !searched {
        head.open_block = Sequence(0);
    }
    if head != loaded.head {
        report.problem(format!("the head is {:?}, but the facts lead to {head:?}", loaded.head));
    }
    if live.is_some_and(|live| live.sequence == state.sequence && *live != state) {
        report.problem("the state in memory is not the one that the facts lead to".into());
    }
    if load::stored_format(rows)? != state.format {
        report.problem("the stored format is not the one that the facts name".into());
    }
    let days = all_tables.iter().copied().chain(scratch.tables());
    let days: BTreeSet<_> =
        days.filter(|table| searched && matches!(table, Table::Search(_))).collect();
    for table in tables::READ_MODELS.into_iter().chain(days) {
        compare(rows, scratch, table, &mut report)?;
    }
    check_idempotency(rows, all_tables, &mut report)?;
    check_secrets(rows, &state, &mut report)?;
    report.head = head.sequence;
    Ok(report)
}

impl Report {
    fn problem(&mut self, sentence: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(sentence);
        }
    }
}

/// Goes through all facts in order and builds up what they lead to.
struct Walk<'a> {
    rows: &'a dyn Rows,
    scratch: &'a dyn StateStore,
    projector: Projector<'a>,
    report: Report,
    state: State,
    head: Head,
}

impl<'a> Walk<'a> {
    fn new(rows: &'a dyn Rows, scratch: &'a dyn StateStore) -> Self {
        let (stats, format) = (Head::default().stats, State::default().format);
        let projector = Projector::new(as_rows(scratch), stats, format, Arc::default());
        let (report, state, head) = Default::default();
        Self { rows, scratch, projector, report, state, head }
    }

    fn all_facts(&mut self, all_tables: &[Table]) -> Result<(), LogError> {
        let days: Vec<_> =
            all_tables.iter().filter(|table| matches!(table, Table::Traffic(_))).collect();
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

    fn fact(&mut self, table: Option<Table>, row: &Row) -> Result<(), LogError> {
        let fact = read_fact(row)?;
        let expected = Sequence(self.head.sequence.0 + 1);
        if fact.sequence != expected {
            let found = fact.sequence;
            self.report.problem(format!("fact {expected} is missing: {found} comes next"));
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
            Chain::Configuration => self.configuration_fact(&fact, hash),
            Chain::Traffic => self.traffic_fact(&fact, hash, table)?,
        }
        self.report.facts += 1;
        self.head.sequence = fact.sequence;
        self.head.time = fact.time;
        Ok(())
    }

    fn configuration_fact(&mut self, fact: &Fact, hash: Hash) {
        if fact.prev_hash != self.head.configuration {
            self.report.problem(format!("fact {} does not follow in its chain", fact.sequence));
        }
        if let FactBody::BucketClosed { bucket, count, last, hash } = &fact.body {
            let Head { bucket_count, last_traffic, traffic, .. } = self.head;
            if (self.head.bucket, bucket_count, last_traffic, traffic)
                != (Some(*bucket), *count, *last, *hash)
            {
                self.report.problem(format!("day {bucket} is not as it was when it ended"));
            }
        }
        self.head.configuration = hash;
        self.state.apply(fact.sequence, &fact.body);
        self.projector.format = self.state.format;
    }

    fn traffic_fact(
        &mut self,
        fact: &Fact,
        hash: Hash,
        table: Option<Table>,
    ) -> Result<(), LogError> {
        let bucket = Bucket::of(fact.time);
        if fact.prev_hash != self.head.traffic {
            self.report.problem(format!("fact {} does not follow in its chain", fact.sequence));
        }
        if table != Some(Table::Traffic(bucket)) {
            self.report.problem(format!("fact {} is not in the table of its day", fact.sequence));
        }
        if self.head.bucket != Some(bucket) {
            if let Some(old) = self.head.bucket.filter(|old| !self.state.buckets.contains_key(old))
            {
                self.report.problem(format!("day {old} ended without a word"));
            }
            (self.head.bucket, self.head.bucket_count) = (Some(bucket), 0);
        }
        self.head.bucket_count += 1;
        self.head.last_traffic = fact.sequence;
        self.head.traffic = hash;
        self.state.apply(fact.sequence, &fact.body);
        if let FactBody::EventAccepted { event }
        | FactBody::EventQuarantined { event, .. }
        | FactBody::QuarantineReleased { event, .. } = &fact.body
        {
            self.payload(fact.sequence, bucket, event)?;
        }
        self.projector.apply((fact.sequence, fact.time, bucket), &fact.body)
    }

    fn payload(
        &mut self,
        sequence: Sequence,
        bucket: Bucket,
        event: &StoredEvent,
    ) -> Result<(), LogError> {
        let row = self.rows.get(Table::Payloads(bucket), &tables::sequence_key(sequence))?;
        let Some(row) = row else {
            self.report.problem(format!("the payload of {} is missing", event.id));
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
        self.head.open_block = self.projector.block.first();
        Ok(())
    }
}

fn as_rows(store: &dyn StateStore) -> &dyn Rows {
    store
}

/// All rows of a table, read page by page.
fn facts<'a>(
    rows: &'a dyn Rows,
    tables: impl Iterator<Item = Table> + 'a,
) -> impl Iterator<Item = Result<Row, StoreError>> + 'a {
    tables.flat_map(move |table| {
        let mut after = Some(Vec::new());
        let pages = iter::from_fn(move || {
            let scan = Scan::all(table, load::PAGE_ROWS).after(after.as_deref()?);
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

fn compare(
    rows: &dyn Rows,
    rebuilt: &dyn StateStore,
    table: Table,
    report: &mut Report,
) -> Result<(), LogError> {
    let mut found = facts(rows, iter::once(table));
    let mut wanted = facts(as_rows(rebuilt), iter::once(table));
    loop {
        match (found.next().transpose()?, wanted.next().transpose()?) {
            (None, None) => return Ok(()),
            (Some(found), Some(wanted)) if found == wanted => {}
            (found, wanted) => {
                let key = |row: Option<Row>| row.map_or("none".into(), |row| hex::encode(row.0));
                let (found, wanted) = (key(found), key(wanted));
                report.problem(format!(
                    "{table:?} differs from what the facts lead to: key {found} is there, the \
                     facts want {wanted}"
                ));
                return Ok(());
            }
        }
    }
}

fn check_idempotency(
    rows: &dyn Rows,
    all_tables: &[Table],
    report: &mut Report,
) -> Result<(), LogError> {
    let days = all_tables.iter().filter(|table| matches!(table, Table::Idempotency(_)));
    for row in facts(rows, days.copied()) {
        let (key, row) = row?;
        if key.first() == Some(&crate::once::TAG) {
            let _answer: crate::once::AnswerRow = crate::project::decode("answer", &row)?;
            continue;
        }
        let row: IdempotencyRow = crate::project::decode("idempotency key", &row)?;
        if rows.get(Table::EventIds, &row.event.to_bytes())?.is_none() {
            report.problem(format!("an idempotency key names {}, which is not there", row.event));
        }
    }
    Ok(())
}

fn check_secrets(rows: &dyn Rows, state: &State, report: &mut Report) -> Result<(), LogError> {
    let stored = rows.scan(&Scan::all(Table::Secrets, usize::MAX))?;
    let wanted = state.secrets.keys().map(|id| id.to_bytes().to_vec());
    if !stored.iter().map(|(key, _)| key.to_vec()).eq(wanted) {
        report.problem("the stored secrets are not those that the facts name".into());
    }
    Ok(())
}

/// Without its file the key may still be given by the configuration, which is not known here.
fn check_secret_key(file: &Path, rows: &dyn Rows, report: &mut Report) {
    if !file.exists() {
        let path = file.display();
        report.notes.push(format!(
            "{path} is missing: the server starts only if its key is given by the configuration"
        ));
    } else if let Err(error) = Sealer::from_file(file).and_then(|sealer| sealer.open_all(rows)) {
        report.problem(format!("{}: {}", file.display(), error.message));
    }
}
