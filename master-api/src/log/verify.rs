//! The proof that the log is whole, and that everything else agrees with it.

use super::{
    LogError,
    agree::{Leftovers, check_idempotency, check_secret_key, check_secrets, compare, sums},
    differences::{Compared, Differences},
    head_file, load,
    load::Loaded,
    twin::Twin,
    walk::{Sink, Walk, Whole},
};
use crate::{
    project::decode,
    search::SINCE_FORMAT,
    secrets::SECRET_KEY_FILE,
    state::State,
    store::{Embedded, Postgres, PostgresConfig, Rows, StateStore, Table},
    tables::{self, EventIdRow},
};
use contract::{id::Sequence, secret::Secret};
use std::{collections::BTreeSet, path::Path};

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
/// Memory for blocks of the rebuilt indices.
const CACHE_BYTES: u64 = 64 << 20;

/// Verifies the log in a data directory, in a copy of it. The server must not run. The copy of
/// the journals and the rebuilt indices need space beside it, for as long as it takes.
pub fn verify(data_dir: &Path) -> Result<Report, LogError> {
    let twin = Twin::of(data_dir)?;
    let store = twin.store()?;
    let scratch = Embedded::open(&twin.beside("indices"), CACHE_BYTES)?;
    let mut report = verify_rows(store, &store.tables(), &scratch, None)?;
    drop(scratch);
    if let Err(error) = head_file::vouch(data_dir, store, &load(store)?) {
        report.problem(error.to_string());
    }
    check_secret_key(&data_dir.join(SECRET_KEY_FILE), store, &mut report);
    Ok(report)
}

/// Verifies the log in a PostgreSQL database, as of one moment, while replicas may go on. The
/// rebuilt indices go into the directory `scratch`, which is made and is the caller's to remove.
/// Whether it was cut short by somebody, only the head files of the replicas can tell.
pub fn verify_database(
    url: &Secret,
    config: PostgresConfig,
    scratch: &Path,
) -> Result<Report, LogError> {
    let store = Postgres::look(url, config)?;
    let (rows, tables) = (store.snapshot(), store.tables());
    let scratch = Embedded::open(scratch, CACHE_BYTES)?;
    verify_rows(&*rows, &tables, &scratch, None)
}

/// Verifies rows that nobody changes meanwhile. `scratch` is an empty store, for what does not fit
/// into memory of the rebuilt indices; `live` is the state of a running server, compared if it is as
/// of the same fact.
pub fn verify_rows(
    rows: &dyn Rows,
    all_tables: &[Table],
    scratch: &dyn StateStore,
    live: Option<&State>,
) -> Result<Report, LogError> {
    let loaded = load(rows)?;
    let job = Job { rows, all_tables, loaded };
    let differences = Differences::new(rows, scratch, &job);
    let whole = Whole(scratch);
    let mut walk = job.walk(&differences)?;
    if !walk.report.problems.is_empty() || !job.is_the_same(&differences)? {
        // Now every row is built, to say which is wrong.
        for table in scratch.tables() {
            scratch.drop_table(table)?;
        }
        walk = job.walk(&whole)?;
        job.compare(scratch, &mut walk.report)?;
        debug_assert!(!walk.report.problems.is_empty(), "it was built twice for nothing");
    }
    job.settle(walk, live)
}

/// What is verified.
struct Job<'a> {
    rows: &'a dyn Rows,
    all_tables: &'a [Table],
    loaded: Loaded,
}

impl Compared for Job<'_> {
    fn concerns(&self, table: Table) -> bool {
        let State { dropped, format, .. } = &self.loaded.state;
        let kept = matches!(table, Table::Search(day) if !dropped.day(day));
        tables::READ_MODELS.contains(&table) || (kept && *format >= SINCE_FORMAT)
    }

    /// What was made by facts that are gone was carried, and the facts that say so come later.
    fn is_made_here(&self, table: Table, key: &[u8], row: &[u8]) -> bool {
        let gone = self.loaded.state.dropped.last;
        let made = || match table {
            Table::EventIds => decode::<EventIdRow>("event id", row).ok().map(|row| row.sequence),
            Table::Deliveries => tables::delivery_of(key).map(|id| id.sequence),
            _ => None,
        };
        gone == Sequence(0) || made().is_none_or(|made| made > gone)
    }
}

impl Job<'_> {
    fn walk<'a>(&'a self, sink: &'a dyn Sink) -> Result<Walk<'a>, LogError> {
        let State { losses, dropped, .. } = &self.loaded.state;
        let mut walk = Walk::new(self.rows, sink, (losses.clone(), *dropped), &|_facts| ());
        walk.all_facts(self.all_tables)?;
        walk.ended();
        Ok(walk)
    }

    fn leftovers(&self) -> Leftovers {
        let dropped = self.loaded.state.dropped;
        // A day that is gone and still has its facts is being swept.
        let swept = |table: &Table| matches!(table, Table::Traffic(day) if dropped.day(*day));
        Leftovers { dropped, allowed: self.all_tables.iter().any(swept) }
    }

    /// Do the facts lead to the stored indices?
    fn is_the_same(&self, differences: &Differences<'_>) -> Result<bool, LogError> {
        let Some(mut same) = differences.same()? else { return Ok(false) };
        let tables = tables::READ_MODELS.into_iter().chain(self.all_tables.iter().copied());
        let tables: BTreeSet<_> = tables.filter(|table| self.concerns(*table)).collect();
        let stored = sums(self.rows, &tables, self.leftovers(), differences.seed())?;
        same.retain(|_, sum| *sum != Default::default());
        Ok(stored.into_iter().filter(|(_, sum)| *sum != Default::default()).eq(same))
    }

    /// Says where they are not.
    fn compare(&self, scratch: &dyn StateStore, report: &mut Report) -> Result<(), LogError> {
        let days = self.all_tables.iter().copied().chain(scratch.tables());
        let days = days.filter(|table| table.day().is_some() && self.concerns(*table));
        for table in tables::READ_MODELS.into_iter().chain(days.collect::<BTreeSet<_>>()) {
            compare((self.rows, scratch), table, self.leftovers(), report)?;
        }
        Ok(())
    }

    /// Everything that is not an index.
    fn settle(&self, walk: Walk<'_>, live: Option<&State>) -> Result<Report, LogError> {
        let Walk { mut report, state, head, .. } = walk;
        if head != self.loaded.head {
            let stored = self.loaded.head;
            report.problem(format!("the head is {stored:?}, but the facts lead to {head:?}"));
        }
        if live.is_some_and(|live| live.sequence == state.sequence && *live != state) {
            report.problem("the state in memory is not the one that the facts lead to".into());
        }
        if load::stored_format(self.rows)? != state.format {
            report.problem("the stored format is not the one that the facts name".into());
        }
        let dropped = state.dropped;
        let kept = self.all_tables.iter();
        let kept = kept.filter(|table| !table.day().is_some_and(|day| dropped.day(day)));
        check_idempotency(self.rows, kept, &mut report)?;
        check_secrets(self.rows, &state, &mut report)?;
        report.head = head.sequence;
        Ok(report)
    }
}

impl Report {
    /// Takes note of something that is wrong.
    pub(super) fn problem(&mut self, sentence: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(sentence);
        }
    }
}

pub(super) fn as_rows(store: &dyn StateStore) -> &dyn Rows {
    store
}
