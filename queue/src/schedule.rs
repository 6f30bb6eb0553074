//! The schedule: which delivery goes next. A plain data structure: it is told what time it is, it
//! knows no lock and it never waits.
//!
//! ```text
//!   priority ─────────► subscriber ──► subscription ──► lane ──► oldest that is due
//!   Reserve, Shares     Turns          Turns, Cap       Lane
//! ```
//!
//! Below the ten priorities lies one more level: what is replayed goes behind all that is live,
//! and has its minimum share like a priority.
//!
//! No operation looks at more than these levels and the few lanes of one subscription, but
//! for [`Schedule::set_rules`] and [`Schedule::depth`]; the rest is steps in search trees.

mod reserve;
mod shares;
mod turns;
mod cap;
mod line;
mod lane;
mod pace;
mod gates;
mod subscription;
mod members;
mod leases;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub(crate) use lane::Counts;

use crate::Config;
use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, LaneDepth, Lease, Settlement, Vacancy},
    rules::Rules,
    subscription::Priority,
};
use gates::Gates;
use lane::Lane;
use leases::Leases;
use reserve::Reserve;
use shares::Shares;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use subscription::{Subscription, Terms};
use turns::{SubscriberNumber, Turns};

/// The priorities, and below them what is replayed.
pub(crate) const LEVELS: usize = Priority::LEVELS + 1;
/// The level of what is replayed.
const BEHIND: usize = 0;

/// Most lanes of subscriptions not known yet that are told when they become known. The feeder
/// finds the deliveries of others when it comes round again.
const STRANGERS_MAX: usize = 4096;

/// The deliveries in the queue, in the order in which they are to be attempted.
#[derive(Debug)]
pub(crate) struct Schedule {
    config: Config,
    rules: Arc<Rules>,
    /// Those in `subscriptions` only. None: our own.
    subscribers: HashMap<Option<String>, SubscriberNumber>,
    subscribers_ever: u32,
    /// Those that were sent something.
    subscriptions: HashMap<SubscriptionNumber, Subscription>,
    reserve: Reserve,
    shares: Shares,
    /// Most attempts in flight of one subscription, whatever its own cap.
    most_of_one: usize,
    turns: [Turns; LEVELS],
    counts: [Counts; LEVELS],
    /// For each lane with delayed deliveries, when its next one is due.
    timers: BTreeSet<(Timestamp, LaneId)>,
    /// Subscriptions whose pace lets nothing through yet.
    gates: Gates,
    /// Attempts in flight at receivers, which take no slots.
    pulled: [usize; LEVELS],
    /// Subscriptions with something for their receivers that were not told yet.
    for_receivers: BTreeSet<SubscriptionNumber>,
    leases: Leases,
    /// Lanes that turned something away and have room again.
    vacant: BTreeSet<LaneId>,
    /// Lanes that turned something away because the rules do not name their subscription yet, and
    /// the position that rules must have reached if they are to name it at all.
    strangers: BTreeMap<LaneId, Sequence>,
    /// Starts so far.
    starts: u64,
}

impl Schedule {
    /// An empty one. No token of its leases was given by one of an earlier `epoch`.
    pub(crate) fn new(config: Config, rules: Arc<Rules>, epoch: Timestamp) -> Self {
        let mut schedule = Self {
            rules,
            subscribers: HashMap::new(),
            subscribers_ever: 0,
            subscriptions: HashMap::new(),
            reserve: Reserve::new(config.max_in_flight),
            shares: Shares::new(config.minimum_share),
            most_of_one: usize::MAX,
            turns: std::array::from_fn(|_| Turns::default()),
            counts: [Counts::default(); LEVELS],
            timers: BTreeSet::new(),
            gates: Gates::default(),
            pulled: [0; LEVELS],
            for_receivers: BTreeSet::new(),
            leases: Leases::new(config.lease.0, epoch),
            vacant: BTreeSet::new(),
            strangers: BTreeMap::new(),
            starts: 0,
            config,
        };
        schedule.divide_slots();
        schedule
    }

    /// Lets time pass: delays end and leases run out. Says how many leases did.
    pub(crate) fn advance(&mut self, now: Timestamp) -> u64 {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, lane)) = self.timers.pop_first() else { break };
            self.change(lane, |held| held.wake(now));
        }
        self.open_gates(now);
        let mut expired = 0;
        while let Some((delivery, due)) = self.leases.expire(now) {
            self.change(delivery.lane, |held| held.take_back(delivery.sequence, due, now));
            expired += 1;
        }
        expired
    }

    /// When time next changes something by itself.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        let due = self.timers.first().map(|(due, _)| *due);
        let next = [due, self.gates.next_opening(), self.leases.next_deadline()];
        next.into_iter().flatten().min()
    }

    /// Takes a delivery in.
    pub(crate) fn enqueue(&mut self, item: FeedItem, now: Timestamp) -> Enqueued {
        let DeliveryId { lane, sequence } = item.delivery;
        if !self.meet(lane.subscription()) {
            // Older rules: its own are on their way. Newer ones: it is gone.
            if self.rules.sequence < sequence && self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(lane, sequence);
            }
            return Enqueued::Full;
        }
        let window = self.window();
        let put = self.change(lane, |held| {
            if held.holds(sequence) {
                Enqueued::Held
            } else if held.room(window) == 0 {
                held.turned_away = true;
                Enqueued::Full
            } else {
                held.put(&item, now);
                Enqueued::Queued
            }
        });
        put.unwrap_or(Enqueued::Full)
    }

    /// Leases the delivery that goes next.
    pub(crate) fn start(&mut self, now: Timestamp) -> Option<Lease> {
        let level = self.next_level()?;
        let number = self.turns[level].next()?;
        let subscription = self.subscriptions.get_mut(&number)?;
        let (lane, _) = subscription.head(level, self.most_of_one)?;
        self.starts += 1;
        let member = subscription.member;
        self.turns[level].serve(member, subscription.place(level)?, self.starts);
        self.begin(lane, now)
    }

    /// Leases the delivery that the receivers of a subscription get next.
    pub(crate) fn start_for(
        &mut self,
        number: SubscriptionNumber,
        now: Timestamp,
    ) -> Option<Lease> {
        let lane = self.subscriptions.get(&number)?.head_to_pull()?;
        self.begin(lane, now)
    }

    fn begin(&mut self, lane: LaneId, now: Timestamp) -> Option<Lease> {
        self.pass_gate(lane.subscription(), now);
        let (sequence, due) = self.change(lane, Lane::start)??;
        Some(self.leases.grant(DeliveryId { lane, sequence }, due, now))
    }

    /// Subscriptions with something for their receivers; each is told once.
    pub(crate) fn take_for_receivers(&mut self) -> BTreeSet<SubscriptionNumber> {
        std::mem::take(&mut self.for_receivers)
    }

    /// Could something start now?
    pub(crate) fn has_eligible(&self) -> bool {
        let open = self.open_levels();
        self.turns.iter().zip(open).any(|(turns, open)| open && !turns.is_empty())
    }

    /// Ends a lease; passes over one that is not held.
    ///
    /// A nack with a time to come is a failed attempt, and the cap learns from it. One that is due
    /// at once gives the delivery back untried.
    pub(crate) fn settle(&mut self, lease: &Lease, settlement: Settlement, now: Timestamp) {
        let DeliveryId { lane, sequence } = lease.delivery;
        if !self.leases.end(lease) {
            return;
        }
        if let Some(subscription) = self.subscriptions.get_mut(&lane.subscription()) {
            match settlement {
                Settlement::Ack => subscription.cap.succeeded(subscription.in_flight),
                Settlement::Nack(due) if due > now => subscription.cap.failed(),
                Settlement::Nack(_) => {}
            }
        }
        let held_until = now.after(self.config.hold_delayed.0);
        self.change(lane, |held| match settlement {
            Settlement::Nack(due) if due <= held_until || held.is_ordered() => {
                held.take_back(sequence, due, now);
            }
            Settlement::Nack(_) | Settlement::Ack => held.finish(sequence, now),
        });
    }

    /// Extends a lease; None if it is not held.
    pub(crate) fn extend(&mut self, lease: &Lease, now: Timestamp) -> Option<Lease> {
        self.leases.extend(lease, now)
    }

    /// Lanes that turned something away and have room again; each is told once.
    pub(crate) fn take_vacancies(&mut self) -> Vec<Vacancy> {
        let window = self.window();
        let mut vacancies = Vec::new();
        for lane in std::mem::take(&mut self.vacant) {
            let subscription = self.subscriptions.get_mut(&lane.subscription());
            let mut held = subscription.and_then(|subscription| subscription.lane_mut(lane));
            let room = held.as_ref().map_or(window, |held| held.room(window));
            match &mut held {
                // Others have filled it since: whoever was turned away still waits for room.
                Some(held) if room == 0 => held.turned_away = true,
                _ => vacancies.push(Vacancy { lane, room: count(room) }),
            }
        }
        vacancies
    }

    /// Is there something for [`Self::take_vacancies`]?
    pub(crate) fn has_vacancies(&self) -> bool {
        !self.vacant.is_empty()
    }

    /// What each lane that holds something holds, by lane.
    pub(crate) fn depth(&self) -> Vec<LaneDepth> {
        let mut depths = Vec::new();
        for subscription in self.subscriptions.values() {
            for (lane, held) in subscription.lanes.iter().filter(|(_, held)| held.len() > 0) {
                let counts = held.counts();
                depths.push(LaneDepth {
                    lane: *lane,
                    priority: subscription.terms.priority.unwrap_or_else(|| lane.priority()).into(),
                    ready: count(counts.ready),
                    delayed: count(counts.delayed),
                    in_flight: count(counts.in_flight),
                    oldest: held.head().map(|(_, due)| due),
                });
            }
        }
        depths.sort_unstable_by_key(|depth| depth.lane);
        depths
    }

    /// How many deliveries of each priority stand where.
    pub(crate) const fn counts(&self) -> &[Counts; LEVELS] {
        &self.counts
    }

    /// Since when the oldest delivery of each priority is due, among those that could start.
    pub(crate) fn oldest(&self) -> [Option<Timestamp>; LEVELS] {
        std::array::from_fn(|level| self.turns[level].oldest())
    }

    /// Changes a lane. Every change passes through here, so that what is derived from lanes
    /// (counts, timers, vacancies, turns) cannot disagree with them.
    fn change<R>(&mut self, id: LaneId, act: impl FnOnce(&mut Lane) -> R) -> Option<R> {
        let window = self.window();
        let subscription = self.subscriptions.get_mut(&id.subscription())?;
        let level = subscription.level(id);
        if subscription.open_lane(id) && subscription.terms.competes() {
            self.reserve.add_present(level);
        }
        let lane = subscription.lane_mut(id)?;

        let (counts, due) = (lane.counts(), lane.next_due());
        let result = act(lane);
        let (counts_now, due_now) = (lane.counts(), lane.next_due());

        if lane.turned_away && lane.room(window) >= window.div_ceil(2) {
            lane.turned_away = false;
            self.vacant.insert(id);
        }
        self.counts[level] = self.counts[level].moved(counts, counts_now);
        subscription.in_flight = subscription.in_flight - counts.in_flight + counts_now.in_flight;
        if subscription.terms.pull {
            self.pulled[level] = self.pulled[level] - counts.in_flight + counts_now.in_flight;
        }
        if due != due_now {
            due.map(|due| self.timers.remove(&(due, id)));
            self.timers.extend(due_now.map(|due| (due, id)));
        }
        self.relist(id.subscription());
        Some(result)
    }

    /// Lists a subscription at each of its priorities if it may start something there, or for its
    /// receivers.
    fn relist(&mut self, number: SubscriptionNumber) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        if !subscription.has_ready()
            && let Some(pace) = &mut subscription.pace
        {
            pace.waited_for(false);
        }
        if subscription.terms.pull {
            if subscription.head_to_pull().is_some() {
                self.for_receivers.insert(number);
            }
            return;
        }
        for at in 0..subscription.places.len() {
            let level = subscription.places[at].level;
            let head = subscription.head(level, self.most_of_one).map(|(_, due)| due);
            self.turns[level].list(subscription.member, &mut subscription.places[at], head);
        }
    }

    /// Sees who is there to share the slots: the priorities that active subscriptions deliver at,
    /// and whether there are several of them. Where neither a subscription nor what it was sent
    /// so far names a priority, the usual one is expected.
    fn divide_slots(&mut self) {
        let mut present = [false; LEVELS];
        let mut active = 0_usize;
        for (number, rule) in &self.rules.subscriptions {
            if !Terms::from(rule.as_ref()).competes() {
                continue;
            }
            active += 1;
            let met = self.subscriptions.get(number).filter(|met| !met.places.is_empty());
            match met {
                Some(met) => met.places.iter().for_each(|place| present[place.level] = true),
                None => present[level_of(rule.spec.priority.unwrap_or_default())] = true,
            }
        }
        self.reserve.set_present(present);
        self.most_of_one = if active > 1 { self.reserve.most_of_one() } else { usize::MAX };
    }

    /// The priorities that may start one more, if they have work.
    fn open_levels(&self) -> [bool; LEVELS] {
        let in_flight = |level: usize| self.counts[level].in_flight - self.pulled[level];
        self.reserve.open(std::array::from_fn(in_flight))
    }

    /// The priority of the next start.
    fn next_level(&mut self) -> Option<usize> {
        let eligible = std::array::from_fn(|level| !self.turns[level].is_empty());
        self.shares.next(eligible, self.open_levels())
    }

    fn window(&self) -> usize {
        usize::try_from(self.config.window).unwrap_or(usize::MAX)
    }
}

/// The level of a priority.
const fn level_of(priority: Priority) -> usize {
    BEHIND + 1 + priority.level()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
