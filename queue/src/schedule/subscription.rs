//! What the schedule knows of one subscription: its terms, its lanes, its places in the turns.

use super::{
    BEHIND,
    cap::Cap,
    lane::Lane,
    level_of,
    turns::{Member, Place, SubscriberNumber},
};
use contract::{
    clock::Timestamp,
    id::{LaneId, SubscriptionNumber},
    subscription::{self, Priority, SubscriptionStatus},
};

/// What the rules in force say of a subscription, as far as the queue cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Its deliveries may start.
    pub(super) active: bool,
    /// Its own priority, for all its lanes.
    pub(super) priority: Option<Priority>,
    /// Its own cap.
    pub(super) max_in_flight: Option<u32>,
}

impl From<&subscription::Subscription> for Terms {
    fn from(subscription: &subscription::Subscription) -> Self {
        Self {
            active: subscription.status == SubscriptionStatus::Active,
            priority: subscription.spec.priority,
            max_in_flight: subscription.spec.max_in_flight,
        }
    }
}

/// A subscription with something in the queue, now or before.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) member: Member,
    pub(super) terms: Terms,
    pub(super) cap: Cap,
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
            cap: Cap::new(terms.max_in_flight),
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
        self.lanes.push((lane, Lane::default()));
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

    /// Its cap, of which what is replayed leaves the last fifth to what is live.
    fn limit(&self, level: usize) -> usize {
        let cap = self.cap.limit();
        if level == BEHIND { cap - cap / 5 } else { cap }
    }

    /// The delivery that may start next at a level, if fewer than `most` are in flight: its
    /// lane and since when it is due.
    pub(super) fn head(&self, level: usize, most: usize) -> Option<(LaneId, Timestamp)> {
        if !self.terms.active || self.in_flight >= self.limit(level).min(most) {
            return None;
        }
        let lanes = self.lanes.iter().filter(|(lane, _)| self.level(*lane) == level);
        let heads = lanes.filter_map(|(lane, held)| held.head().map(|head| (*lane, head)));
        let first = heads.min_by_key(|(lane, (sequence, _))| (*sequence, *lane));
        first.map(|(lane, (_, due))| (lane, due))
    }
}
