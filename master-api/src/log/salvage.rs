//! What of a damaged log is still as it was written, and what is not: each fact is named by the
//! hash in a later one, each payload by the digest in its fact, and a secret opens with its key.

use super::{
    LogError, Progress,
    build::{Builder, Built, PROGRESS_EVERY},
    erasures::event_of,
    hash_of,
    head_file::HeadMark,
    load::fold,
    read_fact,
};
use crate::{
    fact::{Bucket, Chain, Fact, FactBody, Hash, StoredEvent},
    project::decode,
    secrets::Sealer,
    state::{Dropped, Losses, State},
    store::{Batch, Embedded, Row, Rows, Scan, StateStore, StoreError, Table, journal::Survey},
    tables::{self, Head},
};
use bytes::Bytes;
use contract::id::{EventId, SecretId, Sequence};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What was found.
pub struct Salvaged {
    /// The last fact that is left.
    pub found: Sequence,
    /// What is gone.
    pub losses: Losses,
    /// Rows of damaged batches, by key.
    pub suspects: Suspects,
    /// Places in finished tables that do not read, one sentence each.
    pub unreadable: Vec<String>,
}

/// Rows of damaged batches, by key: each may be the damaged one, and its table is not known.
pub type Suspects = HashMap<Vec<u8>, Vec<Vec<u8>>>;

struct Salvage<'a> {
    rows: &'a dyn Rows,
    /// Days of traffic, the newest first.
    days: Vec<Bucket>,
    suspects: Suspects,
    /// Hashes that later facts name as the one before them.
    wanted: HashSet<Hash>,
    losses: Losses,
    /// What was accepted before.
    accepted: Losses,
    /// What retention has dropped.
    dropped: Dropped,
    /// Events whose payloads were removed by facts that are there.
    removed: HashSet<EventId>,
    unreadable: BTreeSet<String>,
}

/// Puts everything that is proven into `builder`: goes through the facts from the last to the
/// first, because each is proven by a later one.
pub fn facts(
    store: &Embedded,
    (survey, mark): (Survey, Option<HeadMark>),
    builder: &mut Builder,
    progress: Progress<'_>,
) -> Result<Salvaged, LogError> {
    let all = store.tables();
    let State { losses: accepted, dropped, .. } = fold(store).unwrap_or_default();
    let day = |table: &Table| match table {
        Table::Traffic(day) if !dropped.day(*day) => Some(*day),
        _ => None,
    };
    let mut days: Vec<_> = all.iter().filter_map(day).collect();
    days.sort_unstable_by(|a, b| b.cmp(a));
    let mut suspects = Suspects::new();
    for (key, row) in survey.damages.into_iter().flat_map(|damage| damage.rows) {
        suspects.entry(key).or_default().push(row);
    }
    let mut salvage = Salvage {
        rows: store,
        days,
        suspects,
        wanted: HashSet::new(),
        losses: Losses::default(),
        accepted,
        dropped,
        removed: HashSet::new(),
        unreadable: BTreeSet::new(),
    };
    let last = salvage.last(mark.as_ref());
    let mut found = Sequence(0);
    for number in (1..=last.0).rev() {
        let sequence = Sequence(number);
        match salvage.fact(sequence) {
            Some((table, row, fact)) => {
                found = found.max(sequence);
                salvage.payload(&fact, builder)?;
                builder.put(table, row.0, row.1)?;
            }
            None if salvage.accepted.cover(sequence, sequence) => {}
            // It went with its day.
            None if sequence <= salvage.dropped.last => {}
            None => salvage.lose(sequence),
        }
        if number % PROGRESS_EVERY == 0 {
            progress("proving", last.0 - number, last.0);
        }
    }
    for (key, row) in store.scan(&Scan::all(Table::Secrets, usize::MAX))? {
        builder.put(Table::Secrets, key, row)?;
    }
    let Salvage { losses, suspects, unreadable, .. } = salvage;
    Ok(Salvaged { found, losses, suspects, unreadable: unreadable.into_iter().collect() })
}

impl Salvage<'_> {
    /// The last fact that can have been. The head file, the head and the rows each say one; what
    /// they name is wanted.
    fn last(&mut self, mark: Option<&HeadMark>) -> Sequence {
        let mut last = Sequence(0);
        let row = self.rows.get(Table::Meta, tables::HEAD).ok().flatten();
        let heads: Vec<Bytes> = row
            .into_iter()
            .chain(self.suspects.get(tables::HEAD).into_iter().flatten().cloned().map(Into::into))
            .collect();
        let heads = heads.iter().filter_map(|row| decode::<Head>("head", row).ok());
        let named = heads.map(|head| HeadMark::from(&head)).chain(mark.copied());
        let named: Vec<_> = named.collect();
        let kept = |table| {
            let newest = self.rows.scan(&Scan::all(table, 1).reversed()).unwrap_or_default();
            newest.first().and_then(|(key, _)| tables::sequence_of(key)).unwrap_or_default()
        };
        let tables = self.days.iter().map(|day| Table::Traffic(*day));
        let in_rows = tables.chain([Table::Configuration]).map(kept).max().unwrap_or_default();
        for mark in named {
            // A head from a damaged batch that is far off is the damaged row.
            if mark.sequence.0 <= in_rows.0.saturating_add(FACTS_PER_BATCH_MAX) {
                last = last.max(mark.sequence);
                self.wanted.extend([mark.configuration, mark.traffic]);
            }
        }
        mark.map_or(last, |mark| last.max(mark.sequence)).max(in_rows)
    }

    /// A fact as it was written.
    fn fact(&mut self, sequence: Sequence) -> Option<(Table, Row, Fact)> {
        let key = Bytes::copy_from_slice(&tables::sequence_key(sequence));
        for table in self.tables() {
            match self.rows.get(table, &key) {
                Ok(Some(row)) => {
                    let row = (key, row);
                    let fact = read_fact(&row).ok()?;
                    self.next_wanted(&row, &fact);
                    return Some((table, row, fact));
                }
                Ok(None) => {}
                Err(error) => self.note(table, &error),
            }
        }
        let candidates = self.suspects.get(key.as_ref()).cloned().unwrap_or_default();
        for candidate in candidates {
            let row = (key.clone(), Bytes::from(candidate));
            let (Ok(hash), Ok(fact)) = (hash_of(&row), read_fact(&row)) else { continue };
            if self.wanted.contains(&hash) {
                self.next_wanted(&row, &fact);
                let day = Bucket::of(fact.time);
                let table = match fact.body.chain() {
                    Chain::Configuration => Table::Configuration,
                    Chain::Traffic if self.dropped.day(day) => return None,
                    Chain::Traffic => Table::Traffic(day),
                };
                return Some((table, row, fact));
            }
            // It may be the damaged one, and still name the one before it.
            self.wanted.insert(fact.prev_hash);
        }
        None
    }

    /// The day that was met last comes first: the days go back as the facts do.
    fn tables(&mut self) -> Vec<Table> {
        let days = self.days.iter().map(|day| Table::Traffic(*day));
        let (first, rest): (Vec<_>, Vec<_>) = days.enumerate().partition(|(n, _)| *n == 0);
        let plain = |found: Vec<(usize, Table)>| found.into_iter().map(|(_, table)| table);
        plain(first).chain([Table::Configuration]).chain(plain(rest)).collect()
    }

    fn next_wanted(&mut self, row: &Row, fact: &Fact) {
        if let Ok(hash) = hash_of(row) {
            self.wanted.remove(&hash);
        }
        self.wanted.insert(fact.prev_hash);
        let day = Bucket::of(fact.time);
        if fact.body.chain() == Chain::Traffic && self.days.first() != Some(&day) {
            // Newer days are done with, but for what the other chain may still lead into.
            let done = self.days.iter().position(|found| *found == day).unwrap_or(0);
            self.days.rotate_left(done);
        }
    }

    fn payload(&mut self, fact: &Fact, builder: &mut Builder) -> Result<(), LogError> {
        if let FactBody::PayloadRemoved { event, .. } = &fact.body {
            self.removed.insert(*event);
        }
        let Some((event, _)) = event_of(fact) else { return Ok(()) };
        let table = Table::Payloads(Bucket::of(fact.time));
        let key = tables::sequence_key(fact.sequence);
        let stored = self.rows.get(table, &key);
        if let Err(error) = &stored {
            self.note(table, error);
        }
        let suspects = self.suspects.get(key.as_slice()).cloned().unwrap_or_default();
        // Facts are gone through from the last to the first: what removed it was met before.
        let is_lost = !self.removed.contains(&event.id);
        let candidates = stored.ok().flatten().into_iter();
        let mut candidates = candidates.chain(suspects.into_iter().map(Bytes::from));
        match candidates.find(|row| is_payload_of(row, event)) {
            Some(row) if is_lost => builder.put(table, Bytes::copy_from_slice(&key), row)?,
            Some(_) => {}
            None if is_lost && !self.accepted.payloads.contains(&event.id) => {
                self.losses.payloads.insert(event.id);
            }
            None => {}
        }
        Ok(())
    }

    /// Facts are gone through from the last to the first, so stretches grow at their front.
    fn lose(&mut self, sequence: Sequence) {
        match self.losses.facts.first_mut() {
            Some((first, _)) if first.0 == sequence.0 + 1 => *first = sequence,
            _ => self.losses.facts.insert(0, (sequence, sequence)),
        }
    }

    fn note(&mut self, table: Table, error: &StoreError) {
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.insert(format!("{table:?}: {error}"));
        }
    }
}

/// Sentences about unreadable places.
const UNREADABLE_MAX: usize = 100;
/// A batch holds far fewer facts.
const FACTS_PER_BATCH_MAX: u64 = 1 << 20;

fn is_payload_of(row: &[u8], event: &StoredEvent) -> bool {
    Hash(Sha256::digest(row).into()) == event.payload_digest
}

/// Looks for the secrets that the facts name and the store lacks; gives those that are gone.
pub fn secrets(
    built: &mut Built,
    suspects: &mut Suspects,
    sealer: Option<&Sealer>,
) -> Result<Vec<SecretId>, LogError> {
    let (mut lost, mut batch) = (Vec::new(), Batch::default());
    for id in built.state.secrets.keys() {
        if built.store.get(Table::Secrets, &id.to_bytes())?.is_some() {
            continue;
        }
        let candidates = suspects.remove(id.to_bytes().as_slice()).unwrap_or_default();
        let opens = |row: &Vec<u8>| sealer.is_some_and(|s| s.open(*id, row).is_some());
        match candidates.into_iter().find(opens) {
            Some(row) => batch.put(Table::Secrets, id.to_bytes(), row),
            None => lost.push(*id),
        }
    }
    built.store.commit(batch)?;
    Ok(lost)
}
