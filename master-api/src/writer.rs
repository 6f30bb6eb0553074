//! Group commit: one thread owns all writes. It drains what waits into one atomic batch, syncs
//! once, publishes what changed, and only then answers everyone. The more load, the larger the
//! batch.

mod round;
mod mailbox;

pub use mailbox::{Command, Writer};
pub use round::Round;

use crate::{
    decide::cancel::Progress,
    fact::Bucket,
    log::LogError,
    shared::{Shared, unavailable},
    store::Table,
    tables::Head,
};
use contract::{Error, Result, delivery::AttemptReport, id::EventId};
use mailbox::{Inbox, Reports};
use std::{sync::Arc, time::Instant};
use tokio::sync::oneshot;

/// What the thread keeps between batches.
struct Loop {
    shared: Arc<Shared>,
    inbox: Inbox,
    newest_event: EventId,
    cancelling: Option<Progress>,
}

/// Sends an answer; `Some` error: the batch failed, and nothing is known of what was in it.
type Answer = Box<dyn FnOnce(Option<&Error>)>;

/// Starts the thread. `newest_event` is the newest event id of the log.
pub fn start(shared: Arc<Shared>, newest_event: EventId) -> std::io::Result<Writer> {
    let (writer, inbox) = mailbox::new(&shared.config);
    let run = move || {
        let guard = StopOnExit(Arc::clone(&shared));
        Loop { shared, inbox, newest_event, cancelling: None }.run();
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
            let clearing = self.shared.state.load().clearing.first().copied();
            let clearing = clearing.filter(|_| self.shared.health.borrow().writing);
            self.cancelling = match (self.cancelling, clearing) {
                (Some(progress), Some(number)) if progress.number == number => Some(progress),
                (_, clearing) => clearing.map(Progress::new),
            };
            let work = self.inbox.gather(self.cancelling.is_some());
            let Some((commands, reports)) = work else { break };
            self.commit(commands, reports);
        }
        // Cursors that moved since the last batch; falling back would only cost a second look.
        self.commit(Vec::new(), Vec::new());
    }

    fn commit(&mut self, commands: Vec<Command>, reports: Vec<Reports>) {
        let writing = self.shared.health.borrow().writing;
        if !writing {
            // Their waiters see the end of the channel, which reads as `unavailable`.
            return;
        }
        let mut answers = Vec::with_capacity(commands.len() + reports.len());
        let failure = match self.try_commit(commands, reports, &mut answers) {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(%error, "the log cannot be written, stopping");
                self.shared.stop_writing();
                Some(unavailable("the log cannot be written"))
            }
        };
        for answer in answers {
            answer(failure.as_ref());
        }
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
        let mut round = Round::new(&shared, self.newest_event);
        for command in commands {
            answers.push(decide(&mut round, command)?);
        }
        for reports in reports {
            answers.push(record(&mut round, reports)?);
        }
        if let Some(progress) = self.cancelling.take() {
            self.cancelling = round.cancel(progress)?;
        }
        let batch = round.finish(&mut shared.lanes())?;
        if batch.0.is_empty() {
            return Ok(());
        }
        shared.store.commit(batch)?;
        let metrics = &shared.around.metrics;
        metrics.batch_size.observe(f64::from(u32::try_from(size).unwrap_or(u32::MAX)));
        metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        self.newest_event = round.newest_event;
        publish(&shared, round);
        Ok(())
    }
}

/// Shows the world what is durable now.
pub fn publish(shared: &Shared, round: Round<'_>) {
    let Round { head, state, vault, removed, projector, notable, .. } = round;
    let mut lanes = shared.lanes();
    lanes.gain(projector.lanes);
    shared.block.store(projector.block);
    // A late attempt of a removed subscription may have brought its lane back.
    removed.iter().chain(&state.clearing).for_each(|number| lanes.remove(*number));
    drop(lanes);
    let changed = state.sequence != shared.state.load().sequence;
    shared.state.store(Arc::clone(&state));
    // After the state: whoever looks at the head first finds a day that is over as closed.
    let before = std::mem::replace(&mut *shared.head(), head);
    if changed {
        shared.vault.store(Arc::clone(&vault));
        shared.rules.send_replace(Arc::new(state.rules(&vault)));
    }
    shared.tip.send_replace(head.sequence);
    if let Some(notable) = notable {
        shared.notable.send_replace(notable);
    }
    drop_old_keys(shared, &before, &head);
}

/// Idempotency keys live for 24 hours: what is older than yesterday goes, table by table.
fn drop_old_keys(shared: &Shared, before: &Head, head: &Head) {
    let (Some(today), true) = (head.bucket, head.bucket != before.bucket) else { return };
    let yesterday = Bucket(today.0.saturating_sub(1));
    for table in shared.store.tables() {
        if matches!(table, Table::Idempotency(day) if day < yesterday)
            && let Err(error) = shared.store.drop_table(table)
        {
            tracing::warn!(%error, ?table, "cannot drop old idempotency keys");
        }
    }
}

fn decide(round: &mut Round<'_>, command: Command) -> Result<Answer, LogError> {
    Ok(match command {
        Command::Store(event, reply) => answer(reply, spared(round.store_event(&event))?),
        Command::Release(event, reply) => answer(reply, spared(round.release_event(&event))?),
        Command::Resend(actor, id, reply) => answer(reply, spared(round.resend(&actor, id))?),
        Command::Execute(actor, changes, reply) => {
            answer(reply, spared(round.execute(&actor, &changes))?)
        }
        Command::Reseal(sealer, reply) => answer(reply, round.reseal(sealer)),
    })
}

fn record(round: &mut Round<'_>, reports: Reports) -> Result<Answer, LogError> {
    let Reports { reports, reply, .. } = reports;
    let recorded = |report: &AttemptReport| spared(round.record_attempt(report).map(Ok));
    // A report that cannot be read against its delivery fails its caller, and nobody else.
    let recorded: Result<Result<Vec<bool>>, LogError> = reports.iter().map(recorded).collect();
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
