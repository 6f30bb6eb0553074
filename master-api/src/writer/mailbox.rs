//! The way to the writer: bounded, with a deadline on every wait.

use super::upkeep::{Upkeep, Upkept};
use crate::{
    config::Config,
    prepare::{Prepared, PreparedChanges},
    secrets::Sealer,
    shared::unavailable,
};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    command::Change,
    delivery::{AttemptReport, Delivery},
    id::DeliveryId,
    master_api::Stored,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T>>;

/// Something for the writer to decide.
pub enum Command {
    /// Append an event.
    Store(Arc<Prepared>, Reply<Stored>),
    /// Take an event that was kept aside.
    Release(Arc<Prepared>, Reply<Stored>),
    /// Make a delivery wait again.
    Resend(Actor, DeliveryId, Reply<Delivery>),
    /// Let something go.
    Upkeep(Actor, Upkeep, Reply<Upkept>),
    /// Change the configuration.
    Execute(Actor, Box<PreparedChanges>, Reply<Vec<Change>>),
    /// Seal all secrets anew.
    Reseal(Sealer, Reply<()>),
}

/// Attempt reports of one caller.
pub struct Reports {
    /// What happened.
    pub reports: Vec<AttemptReport>,
    /// For each: was it the next attempt?
    pub reply: Reply<Vec<bool>>,
    _room: OwnedSemaphorePermit,
}

enum Message {
    Command(Command, OwnedSemaphorePermit),
    /// Reports are there; they do not ask for a batch of their own before their time.
    Reports,
    Stop,
}

/// Messages beside commands that can be under way at once.
const SIGNALS_MAX: usize = 64;
/// How long the thread sleeps when nothing happens and nobody else writes.
const IDLE: Duration = Duration::from_secs(60);

/// The callers' end.
pub struct Writer {
    sender: SyncSender<Message>,
    command_room: Arc<Semaphore>,
    report_room: Arc<Semaphore>,
    reports_room_max: usize,
    reports: Arc<Mutex<Waiting>>,
    reports_batch_max: usize,
    queue_wait: Duration,
    commit_wait: Duration,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The writer's end.
pub(super) struct Inbox {
    receiver: Receiver<Message>,
    reports: Arc<Mutex<Waiting>>,
    reports_batch_max: usize,
    reports_hold: Duration,
    commands_max: usize,
    bytes_max: usize,
    /// How often to come back without work, to see what others wrote.
    poll: Option<Duration>,
    stopping: bool,
    told_to_stop: Arc<AtomicBool>,
}

/// Reports that wait for a batch to ride on.
#[derive(Default)]
struct Waiting {
    reports: Vec<Reports>,
    count: usize,
}

pub(super) fn new(config: &Config, poll: Option<Duration>) -> (Writer, Inbox) {
    let told_to_stop = Arc::new(AtomicBool::new(false));
    let commands_max = config.commands_waiting_max.max(1);
    let reports_room_max = config.reports_waiting_max.max(1);
    let (sender, receiver) = mpsc::sync_channel(commands_max + SIGNALS_MAX);
    let reports = Arc::new(Mutex::new(Waiting::default()));
    let inbox = Inbox {
        receiver,
        reports: Arc::clone(&reports),
        reports_batch_max: config.reports_batch_max,
        reports_hold: config.reports_hold.0,
        commands_max: config.batch_commands_max.max(1),
        bytes_max: config.batch_bytes_max,
        poll,
        stopping: false,
        told_to_stop: Arc::clone(&told_to_stop),
    };
    let writer = Writer {
        sender,
        command_room: Arc::new(Semaphore::new(commands_max)),
        report_room: Arc::new(Semaphore::new(reports_room_max)),
        reports_room_max,
        reports,
        reports_batch_max: config.reports_batch_max,
        queue_wait: config.queue_wait.0,
        commit_wait: config.commit_wait.0,
        stopping: told_to_stop,
        thread: Mutex::new(None),
    };
    (writer, inbox)
}

impl Writer {
    /// Has a command decided, and waits for its answer.
    pub async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let room = self.room(&self.command_room, 1).await?;
        let (reply, answer) = oneshot::channel();
        let message = Message::Command(command(reply), room);
        self.sender.try_send(message).map_err(|_full_or_gone| stopped())?;
        self.answer(answer).await
    }

    /// Has reports recorded, and waits until they are durable.
    pub async fn report(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        if reports.is_empty() {
            return Ok(Vec::new());
        }
        let count = reports.len();
        let room = self.room(&self.report_room, count.min(self.reports_room_max)).await?;
        let (reply, answer) = oneshot::channel();
        self.leave(Reports { reports, reply, _room: room }, count);
        self.answer(answer).await
    }

    /// One signal starts the time that reports are held, a second one says that they are many.
    fn leave(&self, reports: Reports, count: usize) {
        let mut waiting = lock(&self.reports);
        let before = waiting.count;
        waiting.count += count;
        waiting.reports.push(reports);
        let full = self.reports_batch_max;
        if before == 0 || (before < full && before + count >= full) {
            // Full: so many signals are under way that one more says nothing new.
            _ = self.sender.try_send(Message::Reports).is_ok();
        }
    }

    /// Has everything that waits written, and waits until the thread is gone.
    pub fn stop(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            self.stopping.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            // Gone: it needs no telling.
            _ = self.sender.send(Message::Stop).is_ok();
            if thread.join().is_err() {
                tracing::error!("the writer's thread panicked");
            }
        }
    }

    pub(super) fn set_thread(&self, thread: JoinHandle<()>) {
        *lock(&self.thread) = Some(thread);
    }

    async fn room(&self, room: &Arc<Semaphore>, count: usize) -> Result<OwnedSemaphorePermit> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(room).try_acquire_many_owned(count) {
            return Ok(permit);
        }
        let acquired = timeout(self.queue_wait, Arc::clone(room).acquire_many_owned(count)).await;
        match acquired {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(stopped()),
            Err(_elapsed) => Err(unavailable("too many commands wait to be written")),
        }
    }

    async fn answer<T>(&self, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        match timeout(self.commit_wait, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_gone)) => Err(stopped()),
            Err(_elapsed) => {
                let message = "the log did not answer in time; what was asked may yet happen";
                Err(Error::new(ErrorCode::DeadlineExceeded, message))
            }
        }
    }
}

impl Inbox {
    /// Waits for work and takes what there is, up to a batch; None: it is time to stop. With
    /// `busy`, there is other work to do and nothing is waited for.
    pub(super) fn gather(&mut self, busy: bool) -> Option<(Vec<Command>, Vec<Reports>)> {
        let mut commands = Vec::new();
        let mut bytes = 0;
        let mut hold = None;
        while !self.stopping && commands.is_empty() {
            let wait = match hold {
                _ if busy => Duration::ZERO,
                None => self.poll.unwrap_or(IDLE),
                Some(until) => Instant::saturating_duration_since(&until, Instant::now()),
            };
            match self.receiver.recv_timeout(wait) {
                Ok(Message::Reports) if lock(&self.reports).count >= self.reports_batch_max => {
                    break;
                }
                Ok(Message::Reports) => _ = hold.get_or_insert(Instant::now() + self.reports_hold),
                Ok(message) => self.take(message, &mut commands, &mut bytes),
                Err(RecvTimeoutError::Timeout) if busy || hold.is_some() || self.poll.is_some() => {
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.stopping = true,
            }
        }
        while commands.len() < self.commands_max
            && bytes < self.bytes_max
            && let Ok(message) = self.receiver.try_recv()
        {
            self.take(message, &mut commands, &mut bytes);
        }
        let mut waiting = lock(&self.reports);
        waiting.count = 0;
        let reports = std::mem::take(&mut waiting.reports);
        drop(waiting);
        let idle = commands.is_empty() && reports.is_empty();
        if self.stopping && idle { None } else { Some((commands, reports)) }
    }

    /// Waits, but not when it is time to stop; false: it is.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        if !self.told_to_stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(pause);
        }
        !self.told_to_stop.load(Ordering::Relaxed)
    }

    fn take(&mut self, message: Message, commands: &mut Vec<Command>, bytes: &mut usize) {
        match message {
            // Its room is free again once it is out of the channel.
            Message::Command(command, _room) => {
                if let Command::Store(event, _) | Command::Release(event, _) = &command {
                    *bytes += event.payload.len();
                }
                commands.push(command);
            }
            Message::Reports => {}
            Message::Stop => self.stopping = true,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped() -> Error {
    unavailable("the log takes nothing: it stopped, or its store does not answer")
}
