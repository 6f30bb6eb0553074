//! Group commit: one thread owns all writes. It drains what waits into one atomic batch, syncs
//! once, publishes what changed, and only then answers everyone. The more load, the larger the
//! batch.

mod round;
mod upkeep;
mod replaying;
mod mailbox;
mod replica;

pub use mailbox::{Command, Writer};
pub use replaying::ReplayStep;
pub use replica::install;
pub use round::Round;
pub use upkeep::{Upkeep, Upkept};

use crate::{
    decide::cancel::Progress,
    fact::FORMAT,
    log::LogError,
    search::Backfill,
    shared::{Shared, unavailable},
    store::{Ahead, Batch, StoreError},
};
use contract::{Error, Result, delivery::AttemptReport, id::EventId};
use mailbox::{Inbox, Reports};
use replica::{Contact, Cursors, Wrote};
use std::{sync::Arc, time::Instant};
use tokio::sync::oneshot;

/// What the thread keeps between batches.
struct Loop {
    shared: Arc<Shared>,
    inbox: Inbox,
    newest_event: EventId,
    cancelling: Option<Progress>,
    contact: Contact,
    backfill: Backfill,
}

/// Sends an answer; `Some` error: the batch failed, and nothing is known of what was in it.
type Answer = Box<dyn FnOnce(Option<&Error>)>;

/// Starts the thread. `newest_event` is the newest event id of the log.
pub fn start(shared: Arc<Shared>, newest_event: EventId) -> std::io::Result<Writer> {
    let poll = shared.store.replicated().map(|replicated| replicated.poll());
    let (writer, inbox) = mailbox::new(&shared.config, poll);
    let run = move || {
        let guard = StopOnExit(Arc::clone(&shared));
        let contact = Contact::default();
        let backfill = Backfill::default();
        Loop { shared, inbox, newest_event, cancelling: None, contact, backfill }.run();
        drop(guard);
    };
    let thread = std::thread::Builder::new().name("certes-writer".into()).spawn(run)?;
    writer.set_thread(thread);
    Ok(writer)
}

/// However the thread ends, nobody may wait for it after that.
struct StopOnExit(Arc<Shared>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        self.0.stop_writing();
    }
}

impl Loop {
    fn run(mut self) {
        loop {
            let clearing = self.next_to_clear().filter(|_| self.is_clearing());
            self.cancelling = match (self.cancelling, clearing) {
                (Some(progress), Some(next)) if progress.is_of(&next) => Some(progress),
                (_, clearing) => clearing,
            };
            let work = self.inbox.gather(self.cancelling.is_some());
            let Some((commands, reports)) = work else { break };
            if commands.is_empty() && reports.is_empty() && self.cancelling.is_none() {
                self.idle();
            } else {
                self.commit(commands, reports);
                if self.contact.is_look_due() && self.shared.state.load().format < FORMAT {
                    // Under load there is no idle moment to raise it in.
                    self.idle();
                }
            }
        }
        // Cursors that moved since the last batch; falling back would only cost a second look.
        self.commit(Vec::new(), Vec::new());
    }

    /// Whose deliveries are to be cancelled: removed subscriptions, then those that skip.
    fn next_to_clear(&self) -> Option<Progress> {
        let state = self.shared.state.load();
        let removed = state.clearing.first().map(|number| Progress::new(*number, None));
        let skipping = || state.skipping.first_key_value();
        removed.or_else(|| skipping().map(|(number, until)| Progress::new(*number, Some(*until))))
    }

    /// Only one replica cancels, and only while something can be written.
    fn is_clearing(&self) -> bool {
        self.shared.leads() && !self.contact.is_pausing() && self.shared.health.borrow().writing
    }

    fn idle(&mut self) {
        if self.contact.is_pausing() || !self.shared.health.borrow().writing {
            return;
        }
        let looked = self.look_around();
        self.note(looked);
    }

    fn commit(&mut self, commands: Vec<Command>, reports: Vec<Reports>) {
        let writing = self.shared.health.borrow().writing;
        if !writing || self.contact.is_pausing() {
            // Their waiters see the end of the channel, which reads as `unavailable`.
            return;
        }
        let mut answers = Vec::with_capacity(commands.len() + reports.len());
        let done = self.try_commit(commands, reports, &mut answers);
        let failure = self.note(done);
        for answer in answers {
            answer(failure.as_ref());
        }
    }

    /// What goes wrong at a server may go well later; what goes wrong in the log itself does not.
    fn note(&mut self, done: Result<(), LogError>) -> Option<Error> {
        let error = match done {
            Ok(()) => {
                self.reached();
                return None;
            }
            Err(error) => error,
        };
        if let Some(replicated) = self.shared.store.replicated() {
            replicated.let_go();
        }
        if let LogError::Store(StoreError::Unavailable(why)) = &error {
            self.lost(why);
            return Some(unavailable("the state database does not answer"));
        }
        tracing::error!(%error, "the log cannot be written, stopping");
        self.shared.stop_writing();
        Some(unavailable("the log cannot be written"))
    }

    fn try_commit(
        &mut self,
        commands: Vec<Command>,
        reports: Vec<Reports>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), LogError> {
        let started = Instant::now();
        let size = commands.len() + reports.len();
        let shared = Arc::clone(&self.shared);
        let leads = self.take_head()?;
        let mut ahead = Ahead::of(shared.rows());
        if shared.store.replicated().is_some() {
            replica::read_ahead(&mut ahead, (&shared, self.newest_event), &commands, &reports)?;
        }
        let mut round = Round::on(&shared, &ahead, self.newest_event);
        for command in commands {
            answers.push(decide(&mut round, command)?);
        }
        for reports in reports {
            answers.push(record(&mut round, reports)?);
        }
        if let Some(progress) = self.cancelling.take().filter(|_| leads) {
            self.cancelling = round.cancel(progress)?;
        }
        let batch = round.finish(&mut shared.lanes())?;
        if batch.0.is_empty() {
            shared.store.replicated().into_iter().for_each(|replicated| replicated.let_go());
            return Ok(());
        }
        let wrote = Wrote::of(&shared, &round, Cursors::of(&batch));
        self.write(batch, wrote)?;
        let metrics = &shared.around.metrics;
        metrics.batch_size.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        self.newest_event = round.newest_event;
        publish(&shared, round);
        Ok(())
    }

    /// Makes a batch durable; an error says that it is not there.
    fn write(&mut self, batch: Batch, wrote: Wrote) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let error = match shared.store.commit(batch) {
            Ok(()) => return Ok(()),
            Err(StoreError::Uncertain(why)) => {
                self.lost(&why);
                match self.find_out(&wrote) {
                    Ok(true) => return Ok(()),
                    Ok(false) => StoreError::Unavailable(why).into(),
                    Err(error) => error,
                }
            }
            Err(error) => error.into(),
        };
        shared.lanes().not_written(wrote.cursors.lanes);
        shared.followers().not_written(&wrote.cursors.followers);
        Err(error)
    }
}

/// Shows the world what is durable now.
pub fn publish(shared: &Shared, round: Round<'_>) {
    let Round { head, state, vault, removed, projector, notable, tallies, .. } = round;
    let mut counted = shared.tallies();
    counted.extend(tallies);
    removed.iter().for_each(|number| _ = counted.remove(number));
    drop(counted);
    let mut lanes = shared.lanes();
    lanes.gain(projector.lanes);
    shared.block.store(projector.block);
    // A late attempt of a removed subscription may have brought its lane back.
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

fn decide(round: &mut Round<'_>, command: Command) -> Result<Answer, LogError> {
    Ok(match command {
        Command::Store(event, reply) => answer(reply, spared(round.store_event(&event))?),
        Command::Release(event, reply) => answer(reply, spared(round.release_event(&event))?),
        Command::Resend(actor, id, reply) => answer(reply, spared(round.resend(&actor, id))?),
        Command::Upkeep(actor, upkeep, reply) => {
            answer(reply, spared(round.upkeep(&actor, upkeep))?)
        }
        Command::Execute(actor, changes, reply) => {
            answer(reply, spared(round.execute(&actor, &changes))?)
        }
        Command::Reseal(sealer, reply) => answer(reply, round.reseal(sealer)),
    })
}

fn record(round: &mut Round<'_>, reports: Reports) -> Result<Answer, LogError> {
    let Reports { reports, reply, .. } = reports;
    let recorded = |(report, exchange): (AttemptReport, _)| {
        spared(round.record_attempt(&report, exchange).map(Ok))
    };
    // A report that cannot be read against its delivery fails its caller, and nobody else.
    let recorded: Result<Result<Vec<bool>>, LogError> = reports.into_iter().map(recorded).collect();
    Ok(answer(reply, recorded?))
}

/// A row that does not read is found before anything is decided from it: it fails the command
/// that needs it and spares its neighbours. What the store itself reports ends all writing.
fn spared<T>(decided: Result<Result<T>, LogError>) -> Result<Result<T>, LogError> {
    match decided {
        Err(error @ (LogError::Row { .. } | LogError::Fact { .. })) => {
            tracing::error!(%error, "a row cannot be read");
            Ok(Err(Error::internal("a row of the log cannot be read")))
        }
        other => other,
    }
}

fn answer<T: 'static>(reply: oneshot::Sender<Result<T>>, result: Result<T>) -> Answer {
    Box::new(move |failure| {
        // Whoever asked may have gone; what was written stays written.
        drop(reply.send(failure.map_or(result, |error| Err(error.clone()))));
    })
}
