//! What the writer does because other replicas write, too: it takes the log's head and catches up
//! before it decides anything, looks around when there is nothing to do, and outlives a database
//! that goes away for a while.

use super::{Command, Loop, Round, Upkeep, mailbox::Reports, publish};
use crate::{
    fact::{Bucket, FORMAT},
    follow::{self, Followed},
    log::{LogError, hash_of},
    shared::Shared,
    store::{Ahead, Batch, Replicated, StoreError, Table},
    tables::{self, CursorOf, Head},
};
use contract::id::{LaneId, Sequence};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause after the first failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause, so that a database that is back is found soon.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often the format is looked after while there is always something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pages of facts that are taken into the search index in one look.
const PAGES_INDEXED_AT_ONCE: usize = 16;
/// How often to take in the cursors that others moved.
const CURSORS_EVERY: Duration = Duration::from_secs(5);

/// How it goes with the database.
#[derive(Debug, Default)]
pub struct Contact {
    /// Not to be tried before.
    retry_at: Option<Instant>,
    pause: Duration,
    cursors_read: Option<Instant>,
    looked: Option<Instant>,
}

impl Contact {
    /// It failed a moment ago: there is no use in asking again yet.
    pub fn is_pausing(&self) -> bool {
        self.retry_at.is_some_and(|at| Instant::now() < at)
    }

    /// It is a while since anybody looked at what others do.
    pub fn is_look_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
    }

    fn lost(&mut self) -> Duration {
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause
    }
}

impl Loop {
    /// The database did what it was asked.
    pub fn reached(&mut self) {
        if self.contact.retry_at.take().is_some() {
            self.contact.pause = Duration::ZERO;
            tracing::info!("the state database answers again");
        }
        self.shared.note_answering(true);
    }

    /// It did not; nothing was written.
    pub fn lost(&mut self, why: &str) {
        let pause_ms = self.contact.lost().as_millis();
        self.shared.note_answering(false);
        tracing::warn!(error = why, pause_ms, "the state database does not do its work");
    }

    /// Sees what others wrote, when there is nothing to do.
    pub fn look_around(&mut self) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        self.contact.looked = Some(Instant::now());
        let Some(replicated) = shared.store.replicated() else { return Ok(()) };
        let head = follow::stored_head(shared.rows())?;
        if head.bucket == shared.head().bucket {
            self.catch_up(&head)?;
        } else {
            // Nobody drops the tables of a day while somebody has the head.
            self.take_head()?;
            replicated.let_go();
        }
        if shared.state.load().format < FORMAT && replicated.leads() {
            self.raise_format(replicated)?;
        }
        if self.contact.cursors_read.is_none_or(|read| read.elapsed() >= CURSORS_EVERY) {
            follow::follow_cursors(&shared)?;
            self.contact.cursors_read = Some(Instant::now());
        }
        Ok(())
    }

    /// Has the head and knows all there is below it; true: what only a leader may do can be done.
    /// Cursors that a feeder moved which has lost the right to are forgotten.
    pub fn take_head(&mut self) -> Result<bool, LogError> {
        let shared = Arc::clone(&self.shared);
        let Some(replicated) = shared.store.replicated() else { return Ok(true) };
        let lock = replicated.lock_head()?;
        self.catch_up(&follow::read_head(lock.head.as_deref())?)?;
        if shared.feeding().fence().0 != lock.feeding {
            shared.lanes().forget_moved();
        }
        Ok(lock.leads)
    }

    fn catch_up(&mut self, head: &Head) -> Result<(), LogError> {
        if let Some(followed) = follow::follow(&self.shared, head)? {
            self.newest_event = self.newest_event.max(followed.newest_event);
            install(&self.shared, followed);
        }
        Ok(())
    }

    /// Raises the stored format once everybody who lives can read it. Whoever comes to live waits
    /// for the head first, so nobody is left behind.
    fn raise_format(&mut self, replicated: &dyn Replicated) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        if replicated.format_of_all()? < FORMAT || !self.is_indexed_so_far()? {
            return Ok(());
        }
        let leads = self.take_head()?;
        let wanted = leads && shared.state.load().format < FORMAT;
        if !wanted || replicated.format_of_all()? < FORMAT {
            replicated.let_go();
            return Ok(());
        }
        let mut round = Round::new(&shared, self.newest_event);
        if shared.block.load().is_none() {
            let mut backfill = std::mem::take(&mut self.backfill);
            let end = (&*shared.state.load_full(), &*shared.head());
            while !backfill.step(&*shared.store, end, &mut round.projector.batch)? {}
            round.projector.block = Some(Arc::new(backfill.block));
        }
        round.raise_format()?;
        let batch = round.finish(&mut shared.lanes())?;
        shared.store.commit(batch)?;
        publish(&shared, round);
        tracing::info!(format = FORMAT, "every replica reads it: raised the format of the log");
        Ok(())
    }

    /// Makes some of the search index that the next format has; true: all that was known of the log
    /// is in it. Others write meanwhile, and this one takes commands in between.
    fn is_indexed_so_far(&mut self) -> Result<bool, LogError> {
        let shared = Arc::clone(&self.shared);
        if shared.block.load().is_some() {
            return Ok(true);
        }
        // What was not written is begun anew.
        let mut backfill = std::mem::take(&mut self.backfill);
        let (state, head) = (shared.state.load_full(), *shared.head());
        for _ in 0..PAGES_INDEXED_AT_ONCE {
            let mut batch = Batch::default();
            let done = backfill.step(&*shared.store, (&state, &head), &mut batch)?;
            if !batch.0.is_empty() {
                shared.store.commit(batch)?;
            }
            if done {
                self.backfill = backfill;
                return Ok(true);
            }
        }
        self.backfill = backfill;
        Ok(false)
    }

    /// Was a batch written whose confirmation was lost? Asks until it is known, or until it is
    /// time to stop: the head says so, once whoever may still hold it has let go.
    pub fn find_out(&mut self, wrote: &Wrote) -> Result<bool, LogError> {
        loop {
            match self.is_written(wrote) {
                Err(LogError::Store(StoreError::Unavailable(why))) => self.lost(&why),
                known => return known,
            }
            if !self.inbox.pause(self.contact.pause) {
                return Err(StoreError::Unavailable("it is time to stop".to_owned()).into());
            }
        }
    }

    fn is_written(&self, wrote: &Wrote) -> Result<bool, LogError> {
        let Some(replicated) = self.shared.store.replicated() else { return Ok(false) };
        let lock = replicated.lock_head()?;
        replicated.let_go();
        let stored = follow::read_head(lock.head.as_deref())?;
        if stored.sequence < wrote.head.sequence {
            return Ok(false);
        }
        // Others may have written since: then the facts tell whose they are.
        let traffic = Table::Traffic(wrote.head.bucket.unwrap_or_default());
        let last = [
            (wrote.traffic, traffic, wrote.head.traffic),
            (wrote.configuration, Table::Configuration, wrote.head.configuration),
        ];
        for (sequence, table, hash) in last {
            let Some(sequence) = sequence else { continue };
            let key = tables::sequence_key(sequence);
            let row = self.shared.store.get(table, &key)?;
            let found = row.map(|row| hash_of(&(key.to_vec().into(), row))).transpose()?;
            if found != Some(hash) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Those whose cursors are in a batch.
#[derive(Debug, Default)]
pub struct Cursors {
    /// Lanes.
    pub lanes: Vec<LaneId>,
    /// Followers of the log.
    pub followers: Vec<String>,
}

impl Cursors {
    /// Finds them.
    pub fn of(batch: &Batch) -> Self {
        let mut cursors = Self::default();
        for change in batch.0.iter().filter(|change| change.table == Table::Cursors) {
            match tables::cursor_of(&change.key) {
                Some(CursorOf::Lane(lane)) => cursors.lanes.push(lane),
                Some(CursorOf::Follower(follower)) => cursors.followers.push(follower.to_owned()),
                None => {}
            }
        }
        cursors
    }
}

/// What a batch leaves if it is written.
#[derive(Debug)]
pub struct Wrote {
    head: Head,
    /// Its last traffic fact.
    traffic: Option<Sequence>,
    /// Its last configuration fact.
    configuration: Option<Sequence>,
    /// Whose cursors are in it.
    pub cursors: Cursors,
}

impl Wrote {
    /// What the round has made so far of what was before it.
    pub fn of(shared: &Shared, round: &Round<'_>, cursors: Cursors) -> Self {
        let before = *shared.head();
        let configuration = round.state.sequence;
        Self {
            head: round.head,
            traffic: Some(round.head.last_traffic).filter(|last| *last > before.sequence),
            configuration: Some(configuration).filter(|last| *last > before.sequence),
            cursors,
        }
    }
}

/// Shows what others have written.
pub fn install(shared: &Shared, followed: Followed) {
    let Followed { head, state, vault, removed, notable, .. } = followed;
    let Followed { lanes: gains, reloaded, block, .. } = followed;
    shared.block.store(block.map(Arc::new));
    followed.gone.iter().for_each(|sequence| shared.recent.remove(*sequence));
    let mut lanes = shared.lanes();
    if let Some(reloaded) = reloaded {
        *lanes = reloaded;
    }
    lanes.gain(gains);
    removed.iter().chain(&state.clearing).for_each(|number| lanes.remove(*number));
    drop(lanes);
    let changed = state.sequence != shared.state.load().sequence;
    shared.state.store(Arc::clone(&state));
    // After the state: whoever looks at the head first finds a day that is over as closed.
    *shared.head() = head;
    if changed {
        shared.vault.store(Arc::clone(&vault));
        shared.rules.send_replace(Arc::new(state.rules(&vault)));
    }
    shared.tip.send_replace(head.sequence);
    if let Some(notable) = notable {
        shared.notable.send_replace(notable);
    }
}

/// Reads what the batch will ask for, by a question a table: each one by itself would be a way to
/// the server and back while others wait for the head.
pub fn read_ahead(
    ahead: &mut Ahead<'_>,
    (shared, newest_event): (&Shared, contract::id::EventId),
    commands: &[Command],
    reports: &[Reports],
) -> Result<(), StoreError> {
    let (mut events, mut deliveries, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for command in commands {
        match command {
            Command::Store(event, _) => {
                if event.id <= newest_event {
                    events.push(event.id.to_bytes().to_vec());
                }
                keys.extend(event.idempotency.as_ref().map(|(key, _)| key.clone()));
            }
            Command::Release(event, _) => events.push(event.id.to_bytes().to_vec()),
            Command::Upkeep(
                _,
                Upkeep::Carry(ids) | Upkeep::Expire(ids, _) | Upkeep::Erase(ids),
                _,
            ) => events.extend(ids.iter().map(|id| id.to_bytes().to_vec())),
            Command::Execute(_, changes, _) => {
                keys.extend(changes.once.as_ref().map(|once| once.row.clone()));
            }
            Command::Upkeep(..) | Command::Reseal(..) => {}
            Command::Resend(_, id, _) => deliveries.push(id.to_bytes().to_vec()),
        }
    }
    let reported = reports.iter().flat_map(|reports| &reports.reports);
    deliveries.extend(reported.map(|(report, _)| report.delivery.to_bytes().to_vec()));
    ahead.fetch(Table::EventIds, &events)?;
    ahead.fetch(Table::Deliveries, &deliveries)?;
    let today = Bucket::of(shared.around.clock.now().max(shared.head().time));
    for day in [today, today.before()] {
        ahead.fetch(Table::Idempotency(day), &keys)?;
    }
    Ok(())
}
