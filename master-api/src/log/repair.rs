//! Going on with a damaged log: only by an operator's word, and with a list of what is lost.

use super::{
    Draft, LogError, Progress,
    build::{Builder, Built, require_whole},
    head_file::{self, HeadMark},
    load,
    rebuild::Place,
    salvage::{self, Salvaged},
    twin::Twin,
};
use crate::{
    fact::{FORMAT, FactBody},
    project::encode,
    search,
    secrets::{SECRET_KEY_FILE, Sealer},
    state::Losses,
    store::{Batch, StateStore, Table},
    tables,
};
use contract::{
    access::Actor,
    clock::Timestamp,
    id::{EventId, SecretId, Sequence},
};
use std::path::{Path, PathBuf};

/// What was lost from a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loss {
    /// Where the store is damaged, one sentence each.
    pub damage: Vec<String>,
    /// The last fact that is left.
    pub found: Sequence,
    /// The last fact that is known to have been there; None: the head file is missing or does
    /// not read, so nobody knows. There may have been more: it is written once a second.
    pub reached: Option<Sequence>,
    /// Facts that are gone, each stretch from its first to its last.
    pub facts: Vec<(Sequence, Sequence)>,
    /// Events whose payloads are gone.
    pub payloads: Vec<EventId>,
    /// Stored secrets that are gone.
    pub secrets: Vec<SecretId>,
    /// The log goes on without them.
    pub accepted: bool,
    /// Where the damaged store was put aside.
    pub kept: Option<PathBuf>,
}

impl Loss {
    /// How many facts are known to be missing.
    pub fn facts(&self) -> u64 {
        self.facts.iter().map(|(first, last)| last.0.saturating_sub(first.0) + 1).sum()
    }

    fn is_nothing(&self) -> bool {
        self.facts.is_empty() && self.payloads.is_empty() && self.secrets.is_empty()
    }
}

/// Looks for what is damaged or missing in the log of a data directory; None: nothing. With
/// `accepted_at`, everything that can be proven to be as it was written goes into a new store,
/// which takes the old one's place; what is gone without it is a fact of the new log, and the old
/// store is put aside. The server must not run.
///
/// What is proven: a fact by the fact after it or by the head file, a payload by its fact, a secret
/// by the secret key.
pub fn repair(
    data_dir: &Path,
    accepted_at: Option<Timestamp>,
    progress: Progress<'_>,
) -> Result<Option<Loss>, LogError> {
    let (twin, survey) = Twin::salvaged(data_dir)?;
    let (mark, reached) = match head_file::read(data_dir) {
        Ok(mark) => (mark, mark.map(|mark| mark.sequence)),
        Err(LogError::HeadDamaged { .. }) => (None, None),
        Err(other) => return Err(other),
    };
    let damage = survey.damages.iter().map(|damage| damage.place()).collect();
    let place = Place::beside(data_dir)?;
    let mut builder = Builder::create(&place.store())?;
    let Salvaged { found, losses, mut suspects, unreadable } =
        salvage::facts(twin.store()?, (survey, mark), &mut builder, progress)?;
    let mut loss = Loss { damage, found, reached, facts: losses.facts, ..Loss::default() };
    loss.damage.extend(unreadable);
    loss.payloads.extend(&losses.payloads);
    let known = Losses { facts: loss.facts.clone(), payloads: losses.payloads };
    let mut built = builder.finish(known, progress)?;
    let key = data_dir.join(SECRET_KEY_FILE);
    let sealer = Sealer::from_file(&key).ok();
    loss.secrets = salvage::secrets(&mut built, &mut suspects, sealer.as_ref())?;
    if loss.damage.is_empty() && loss.is_nothing() {
        // The rows are whole; it is the head file that is missing, or that names another log.
        let rows = twin.store()?;
        return match head_file::vouch(data_dir, rows, &load(rows)?) {
            Ok(()) => Ok(None),
            Err(
                LogError::HeadMissing { .. }
                | LogError::HeadDamaged { .. }
                | LogError::Changed { .. },
            ) => {
                if accepted_at.is_some() {
                    head_file::write(data_dir, &HeadMark::from(&built.head))?;
                }
                Ok(Some(Loss { accepted: accepted_at.is_some(), ..loss }))
            }
            Err(other) => Err(other),
        };
    }
    note(&mut built, &loss, accepted_at)?;
    require_whole(&mut built)?;
    if accepted_at.is_some() {
        let Built { store, head, .. } = built;
        drop(store);
        loss.kept = Some(place.take_over_and_keep(data_dir)?);
        head_file::write(data_dir, &HeadMark::from(&head))?;
        loss.accepted = true;
    }
    Ok(Some(loss))
}

/// Appends what was lost to the new log, behind the last fact that is known to have been.
fn note(built: &mut Built, loss: &Loss, at: Option<Timestamp>) -> Result<(), LogError> {
    if loss.is_nothing() {
        return Ok(());
    }
    let mut facts = Vec::new();
    if built.state.format < FORMAT {
        facts.push(FactBody::FormatRaised { format: FORMAT });
    }
    facts.extend(loss.secrets.iter().map(|id| FactBody::SecretErased { id: *id }));
    let (lost, payloads) = (loss.facts.clone(), loss.payloads.clone());
    facts.push(FactBody::LossAccepted { facts: lost, payloads });
    let (head, mut batch) = (&mut built.head, Batch::default());
    head.sequence = head.sequence.max(loss.facts.last().map_or(Sequence(0), |(_, last)| *last));
    head.time = at.unwrap_or_default().max(head.time);
    let actor = Actor::Component("log-repair".to_owned());
    for body in facts {
        let draft = Draft::new(&actor, &body)
            .map_err(|source| LogError::Row { what: "a new fact".to_owned(), source })?;
        head.sequence = Sequence(head.sequence.0 + 1);
        let (row, hash) = draft.place(head.sequence, head.time, head.configuration);
        head.configuration = hash;
        batch.put(Table::Configuration, tables::sequence_key(head.sequence), row);
        built.state.apply(head.sequence, &body);
    }
    if built.state.format >= search::SINCE_FORMAT {
        head.open_block = built.open_block;
    }
    batch.put(Table::Meta, tables::HEAD, encode("head", head)?);
    batch.put(Table::Meta, tables::FORMAT, built.state.format.to_be_bytes().to_vec());
    Ok(built.store.commit(batch)?)
}
