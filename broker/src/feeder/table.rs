//! Which lanes are behind, and what the broker has offered.
//!
//! A lane that is not in the table is open: the shortcut may use it. One that is in the table is
//! behind, and only its turns bring something:
//!
//! ```text
//!           refused             turn               caught up
//!   open ────────────► ready ──────────► reading ────────────► open
//!                      ▲   ▲   more, failed │ │
//!                      │   └────────────────┘ │ full
//!                      └────── vacancy ── blocked
//! ```
//!
//! A lane always goes behind at position 0, which stands for its durable cursor. So whatever was
//! stored before is seen by its turns, and an offer for a lane behind need not be kept, except
//! while a page is read: it may have been stored after the log was asked.

use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence},
    master_api::{FeedItem, LaneStatus},
    queue::Vacancy,
};
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Most offers kept for one lane while a page of it is read.
const MISSED_MAX: usize = 256;

/// Lanes that are behind; shared by the shortcut, the vacancies and the turns.
#[derive(Debug)]
pub(super) struct LaneTable {
    offers_max: usize,
    state: Mutex<State>,
    offered: Notify,
    turn: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The log has listed its lanes once. Until then every lane is behind.
    started: bool,
    behind: HashMap<LaneId, Behind>,
    /// Lanes in phase `Ready`, each once, in the order of their turns.
    ready: VecDeque<LaneId>,
    offers: Vec<FeedItem>,
}

#[derive(Debug)]
struct Behind {
    /// Every fresh delivery up to here is in the queue or has been there.
    read: Sequence,
    /// Its next turn brings the retries, too.
    retries: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Waits for its turn. `room`: how many the queue has asked for, if it has said so.
    Ready { room: Option<u32> },
    /// A page of it is being read.
    Reading(Meanwhile),
    /// Waits for a vacancy.
    Blocked,
}

/// What happened while a page was read.
#[derive(Debug, Default)]
struct Meanwhile {
    missed: Vec<FeedItem>,
    missed_more: bool,
    vacancy: Option<u32>,
}

/// The right and duty to bring a lane's next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Which lane.
    pub lane: LaneId,
    /// Where to read on.
    pub after: Sequence,
    /// Bring the retries first.
    pub retries: bool,
    /// How many the queue has asked for, if it has said so.
    pub room: Option<u32>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// All of the page is in the queue up to `read`, and there is more.
    More { read: Sequence },
    /// The queue refused what comes after `read`.
    Full { read: Sequence, retries: bool },
    /// The queue has everything up to `read`, and the log has no more.
    CaughtUp { read: Sequence },
    /// The log or the queue did not answer.
    Failed,
}

impl LaneTable {
    /// An empty table that keeps at most `offers_max` offers.
    pub fn new(offers_max: usize) -> Self {
        let state = Mutex::new(State::default());
        Self { offers_max, state, offered: Notify::new(), turn: Notify::new() }
    }

    /// Keeps an offer until it is passed on. What finds no place comes from the log.
    pub fn offer(&self, sequence: Sequence, lanes: &[LaneId], now: Timestamp) {
        let item = |lane: &LaneId| FeedItem {
            delivery: DeliveryId { lane: *lane, sequence },
            due: now,
            key: None,
        };
        let mut state = self.lock();
        let room = self.offers_max.saturating_sub(state.offers.len()).min(lanes.len());
        let (kept, left) = lanes.split_at(room);
        state.offers.extend(kept.iter().map(item));
        left.iter().for_each(|lane| state.miss(item(lane)));
        self.wake(state);
    }

    /// Lets these lanes have a turn, which brings what was stored and what is to be tried again.
    pub fn await_turn(&self, lanes: &[LaneId]) {
        let mut state = self.lock();
        lanes.iter().for_each(|lane| state.await_turn(*lane));
        self.wake(state);
    }

    /// Takes up to `max` offers and gives those that may go to the queue directly, in the order in
    /// which they were stored. None: nothing was offered.
    pub fn admit(&self, max: usize) -> Option<Vec<FeedItem>> {
        let mut state = self.lock();
        if state.offers.is_empty() {
            return None;
        }
        state.offers.sort_unstable_by_key(|item| item.delivery.sequence);
        let count = state.offers.len().min(max);
        let mut items: Vec<_> = state.offers.drain(..count).collect();
        items.retain(|item| {
            let open = state.started && !state.behind.contains_key(&item.delivery.lane);
            if !open {
                state.miss(*item);
            }
            open
        });
        self.wake(state);
        Some(items)
    }

    /// Takes up to `max` offers, whatever is known of their lanes. None: nothing was offered.
    pub fn take_offers(&self, max: usize) -> Option<Vec<FeedItem>> {
        let mut state = self.lock();
        let count = state.offers.len().min(max);
        let items: Vec<_> = state.offers.drain(..count).collect();
        self.wake(state);
        (!items.is_empty()).then_some(items)
    }

    /// Forgets everything, as if nothing had been listed yet.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Notes that the queue did not take an offer.
    pub fn refuse(&self, item: FeedItem) {
        let mut state = self.lock();
        state.miss(item);
        self.wake(state);
    }

    /// Puts the lanes that had work at start behind. From now on the others are open.
    pub fn start(&self, lanes: &[LaneStatus]) {
        let mut state = self.lock();
        lanes.iter().for_each(|status| state.rewind(status.lane));
        state.started = true;
        self.wake(state);
    }

    /// Has [`Self::start`] been called?
    pub fn is_started(&self) -> bool {
        self.lock().started
    }

    /// Reads a lane again from its durable cursor, with its retries, whether it has room or not.
    pub fn rewind(&self, lane: LaneId) {
        let mut state = self.lock();
        state.rewind(lane);
        self.wake(state);
    }

    /// Reads a lane again from its durable cursor when it has room.
    pub fn reread(&self, lane: LaneId) {
        let mut state = self.lock();
        match state.behind.get_mut(&lane) {
            None => state.fall_behind(lane, false),
            Some(behind) => behind.read = Sequence::default(),
        }
        self.wake(state);
    }

    /// If the lane is behind, lets its next turn bring the retries, too. False: it is open.
    pub fn want_retries(&self, lane: LaneId) -> bool {
        let mut state = self.lock();
        let behind = state.behind.get_mut(&lane);
        behind.map(|behind| behind.retries = true).is_some()
    }

    /// Notes that the queue has room in a lane.
    pub fn vacate(&self, vacancy: Vacancy) {
        let mut state = self.lock();
        state.vacate(vacancy.lane, Some(vacancy.room));
        self.wake(state);
    }

    /// Lets all lanes that wait for a vacancy try again.
    pub fn vacate_all(&self) {
        let mut state = self.lock();
        let lanes: Vec<_> = state.behind.keys().copied().collect();
        lanes.into_iter().for_each(|lane| state.vacate(lane, None));
        self.wake(state);
    }

    /// Takes the next turns, at most `max`. Each ends with [`Self::end`].
    pub fn turns(&self, max: usize) -> Vec<Turn> {
        let mut state = self.lock();
        let State { behind, ready, .. } = &mut *state;
        let count = ready.len().min(max);
        let turn = |lane: LaneId| {
            let behind = behind.get_mut(&lane)?;
            let reading = Phase::Reading(Meanwhile::default());
            let Phase::Ready { room } = mem::replace(&mut behind.phase, reading) else {
                return None;
            };
            let retries = mem::take(&mut behind.retries);
            Some(Turn { lane, after: behind.read, retries, room })
        };
        ready.drain(..count).filter_map(turn).collect()
    }

    /// Ends a turn.
    pub fn end(&self, turn: Turn, end: TurnEnd) {
        let mut state = self.lock();
        state.end(turn, end, self.offers_max);
        self.wake(state);
    }

    /// Does a lane wait for its turn?
    pub fn has_turns(&self) -> bool {
        !self.lock().ready.is_empty()
    }

    /// How many lanes are behind.
    pub fn lanes_behind(&self) -> usize {
        self.lock().behind.len()
    }

    /// Waits until there are offers.
    pub async fn offered(&self) {
        while self.lock().offers.is_empty() {
            self.offered.notified().await;
        }
    }

    /// Waits until a lane has a turn.
    pub async fn turn(&self) {
        while !self.has_turns() {
            self.turn.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks, and wakes whoever has something to do now.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let (offers, turns) = (!state.offers.is_empty(), !state.ready.is_empty());
        drop(state);
        if offers {
            self.offered.notify_one();
        }
        if turns {
            self.turn.notify_one();
        }
    }
}

impl State {
    /// An offer did not reach the queue: its lane is behind, if it was not.
    fn miss(&mut self, item: FeedItem) {
        match self.behind.get_mut(&item.delivery.lane) {
            None => self.fall_behind(item.delivery.lane, false),
            Some(Behind { phase: Phase::Reading(meanwhile), .. }) => {
                if meanwhile.missed.len() < MISSED_MAX {
                    meanwhile.missed.push(item);
                } else {
                    meanwhile.missed_more = true;
                }
            }
            // Its turns still come to it, or have brought it already.
            Some(_) => {}
        }
    }

    fn await_turn(&mut self, lane: LaneId) {
        match self.behind.get_mut(&lane) {
            None => self.fall_behind(lane, true),
            // It may have been stored after the log was asked.
            Some(Behind { phase: Phase::Reading(meanwhile), .. }) => meanwhile.missed_more = true,
            Some(_) => {}
        }
    }

    fn rewind(&mut self, lane: LaneId) {
        match self.behind.get_mut(&lane) {
            None => self.fall_behind(lane, true),
            Some(behind) => {
                behind.read = Sequence::default();
                behind.retries = true;
                self.vacate(lane, None);
            }
        }
    }

    fn fall_behind(&mut self, lane: LaneId, retries: bool) {
        if let Entry::Vacant(entry) = self.behind.entry(lane) {
            let phase = Phase::Ready { room: None };
            entry.insert(Behind { read: Sequence::default(), retries, phase });
            self.ready.push_back(lane);
        }
    }

    fn vacate(&mut self, lane: LaneId, room: Option<u32>) {
        match self.behind.get_mut(&lane) {
            // The report overtook the refusal that it follows: what was refused may be missing.
            None => self.fall_behind(lane, false),
            Some(behind) => match &mut behind.phase {
                Phase::Ready { .. } => {}
                // It may belong to a refusal of the page that is under way.
                Phase::Reading(meanwhile) => meanwhile.vacancy = Some(room.unwrap_or(u32::MAX)),
                Phase::Blocked => {
                    behind.phase = Phase::Ready { room };
                    self.ready.push_back(lane);
                }
            },
        }
    }

    fn end(&mut self, turn: Turn, end: TurnEnd, offers_max: usize) {
        let lane = turn.lane;
        let Some(behind) = self.behind.get_mut(&lane) else { return };
        let Phase::Reading(meanwhile) = mem::replace(&mut behind.phase, Phase::Blocked) else {
            return;
        };
        match end {
            TurnEnd::More { read } => {
                behind.read = read;
                self.vacate(lane, None);
            }
            TurnEnd::Failed => {
                behind.retries |= turn.retries;
                self.vacate(lane, None);
            }
            TurnEnd::Full { read, retries } => {
                behind.read = read;
                behind.retries |= retries;
                if let Some(room) = meanwhile.vacancy {
                    self.vacate(lane, Some(room));
                }
            }
            TurnEnd::CaughtUp { read } => {
                // What was brought from the log must not come again by the shortcut: it may be
                // finished by then.
                let is_new = |item: &FeedItem| item.delivery.sequence > read;
                let mut missed = meanwhile.missed;
                missed.retain(is_new);
                self.offers.retain(|item| item.delivery.lane != lane || is_new(item));
                let fit = self.offers.len() + missed.len() <= offers_max;
                if meanwhile.missed_more || !fit {
                    behind.read = read;
                    self.vacate(lane, None);
                } else {
                    self.behind.remove(&lane);
                    self.offers.append(&mut missed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
