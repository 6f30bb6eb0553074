//! What the schedule knows of one subscription: its terms, its lanes, its places in the turns.

use super::{
    BEHIND,
    cap::Cap,
    lane::Lane,
    level_of,
    line::Order,
    pace::Pace,
    turns::{Member, Place, SubscriberNumber},
};
use contract::{
    breaker::Breaker,
    clock::Timestamp,
    id::{LaneId, SubscriptionNumber},
    rate_limit::RateLimit,
    subscription::{self, Priority, SubscriptionStatus},
};

/// What the rules in force say of a subscription, as far as the queue cares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    /// Its deliveries may start.
    pub(super) active: bool,
    /// Its own priority, for all its lanes.
    pub(super) priority: Option<Priority>,
    /// Its own cap.
    pub(super) max_in_flight: Option<u32>,
    /// How fast they may start.
    pub(super) rate_limit: Option<RateLimit>,
    /// Its deliveries are held, but for a probe now and then.
    pub(super) breaker: Option<Breaker>,
    /// Which of its deliveries wait for each other.
    pub(super) order: Order,
    /// Its receivers ask for its deliveries.
    pub(super) pull: bool,
}

impl Terms {
    /// Does it compete with others for the slots of the consumers?
    pub(super) const fn competes(&self) -> bool {
        self.active && !self.pull
    }

    /// The cap to begin with. Receivers ask for no more than they can take.
    pub(super) fn cap(&self) -> Cap {
        Cap::new(self.max_in_flight.or(self.pull.then_some(u32::MAX)))
    }

    /// How its deliveries start.
    pub(super) fn pace(&self) -> Option<Pace> {
        let limit = self.rate_limit.map(Pace::new);
        self.breaker.map(|breaker| Pace::probing(breaker, limit)).or(limit)
    }
}

impl From<&subscription::Subscription> for Terms {
    fn from(subscription: &subscription::Subscription) -> Self {
        Self {
            active: subscription.status == SubscriptionStatus::Active,
            priority: subscription.spec.priority,
            max_in_flight: subscription.spec.max_in_flight,
            rate_limit: subscription.spec.rate_limit,
            breaker: subscription.breaker,
            order: Order::from(&subscription.spec.ordering),
            pull: subscription.spec.pull,
        }
    }
}

/// A subscription with something in the queue, now or before.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) member: Member,
    pub(super) terms: Terms,
    pub(super) cap: Cap,
    /// None: it starts as fast as it goes.
    pub(super) pace: Option<Pace>,
    /// Its pace lets nothing through before this.
    pub(super) gate: Option<Timestamp>,
    /// Attempts in flight, all lanes together.
    pub(super) in_flight: usize,
    /// Its lanes: one for each priority at which it was sent something.
    pub(super) lanes: Vec<(LaneId, Lane)>,
    /// Its places in the turns: one for each priority that its lanes have.
    pub(super) places: Vec<Place>,
}

impl Subscription {
    pub(super) fn new(
        number: SubscriptionNumber,
        subscriber: SubscriberNumber,
        terms: Terms,
    ) -> Self {
        Self {
            member: Member { subscriber, subscription: number },
            terms,
            cap: terms.cap(),
            pace: None,
            gate: None,
            in_flight: 0,
            lanes: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The level of a lane: the subscription's own priority, else that of acceptance; what is
    /// replayed lies below all priorities.
    pub(super) fn level(&self, lane: LaneId) -> usize {
        match lane.is_behind() {
            true => BEHIND,
            false => level_of(self.terms.priority.unwrap_or_else(|| lane.priority())),
        }
    }

    /// Makes the lane when there is none, and its place in the turns; true if there was none.
    pub(super) fn open_lane(&mut self, lane: LaneId) -> bool {
        if self.lanes.iter().any(|(id, _)| *id == lane) {
            return false;
        }
        // Most subscriptions have one lane for ever.
        self.lanes.reserve_exact(1);
        self.lanes.push((lane, Lane::new(self.terms.order)));
        let level = self.level(lane);
        if self.place(level).is_none() {
            self.places.reserve_exact(1);
            self.places.push(Place::new(level));
        }
        true
    }

    pub(super) fn lane_mut(&mut self, lane: LaneId) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|(id, _)| *id == lane).map(|(_, held)| held)
    }

    pub(super) fn place(&mut self, level: usize) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.level == level)
    }

    /// Is something due and waiting for a worker?
    pub(super) fn has_ready(&self) -> bool {
        self.lanes.iter().any(|(_, held)| held.head().is_some())
    }

    /// Its cap, of which what is replayed leaves the last fifth to what is live.
    fn limit(&self, level: usize) -> usize {
        // Behind an open breaker one at a time is let through.
        let cap = if self.terms.breaker.is_some() { 1 } else { self.cap.limit() };
        if level == BEHIND { cap - cap / 5 } else { cap }
    }

    /// The delivery that its receivers get next: the lane of one at its highest level.
    pub(super) fn head_to_pull(&self) -> Option<LaneId> {
        if !self.terms.pull {
            return None;
        }
        let heads = self.places.iter().filter_map(|place| {
            self.head(place.level, usize::MAX).map(|(lane, _)| (place.level, lane))
        });
        heads.max_by_key(|(level, _)| *level).map(|(_, lane)| lane)
    }

    /// The delivery that may start next at a level, if fewer than `most` are in flight: its
    /// lane and since when it is due.
    pub(super) fn head(&self, level: usize, most: usize) -> Option<(LaneId, Timestamp)> {
        let held_back = !self.terms.active || self.gate.is_some();
        if held_back || self.in_flight >= self.limit(level).min(most) {
            return None;
        }
        let lanes = self.lanes.iter().filter(|(lane, _)| self.level(*lane) == level);
        let heads = lanes.filter_map(|(lane, held)| held.head().map(|head| (*lane, head)));
        let first = heads.min_by_key(|(lane, (sequence, _))| (*sequence, *lane));
        first.map(|(lane, (_, due))| (lane, due))
    }
}
