//! Turns inside one priority: per subscriber, then per subscription.

use contract::{clock::Timestamp, id::SubscriptionNumber};
use std::collections::{BTreeSet, HashMap};

/// A subscriber as the schedule numbers it; our own counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SubscriberNumber(pub(super) u32);

/// A subscription and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) subscriber: SubscriberNumber,
    pub(super) subscription: SubscriptionNumber,
}

/// What a subscription keeps of its turns at one priority.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) level: usize,
    /// Number of the start that was its last turn.
    served: u64,
    /// While it may start one: since when the next one is due.
    listed: Option<Timestamp>,
}

impl Place {
    pub(super) fn new(level: usize) -> Self {
        Self { level, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct Subscriber {
    served: u64,
    /// Its subscriptions that may start one, by their last turn.
    subscriptions: BTreeSet<(u64, SubscriptionNumber)>,
}

/// The turns of one priority: whoever was served longest ago goes next, which is round robin among
/// those that have work and lets a newcomer in at once, but never twice in one round.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Subscribers with a subscription that may start one, by their last turn.
    order: BTreeSet<(u64, SubscriberNumber)>,
    subscribers: HashMap<SubscriberNumber, Subscriber>,
    oldest: BTreeSet<(Timestamp, SubscriptionNumber)>,
}

impl Turns {
    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<SubscriptionNumber> {
        let (_, subscriber) = self.order.first()?;
        let (_, subscription) = self.subscribers.get(subscriber)?.subscriptions.first()?;
        Some(*subscription)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Since when the oldest delivery that could start is due.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest.first().map(|(due, _)| *due)
    }

    /// Lists a subscription whose next delivery is due since `head`; None takes it off the list.
    pub(super) fn list(&mut self, member: Member, place: &mut Place, head: Option<Timestamp>) {
        let before = std::mem::replace(&mut place.listed, head);
        if before == head {
            return;
        }
        if let Some(due) = before {
            self.oldest.remove(&(due, member.subscription));
        }
        if let Some(due) = head {
            self.oldest.insert((due, member.subscription));
        }
        match (before, head) {
            (None, Some(_)) => self.join(member, place.served),
            (Some(_), None) => self.leave(member, place.served),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Takes a subscription off the list and notes that `turn` was its own and its subscriber's.
    pub(super) fn serve(&mut self, member: Member, place: &mut Place, turn: u64) {
        self.list(member, place, None);
        place.served = turn;
        let subscriber = self.subscribers.entry(member.subscriber).or_default();
        if self.order.remove(&(subscriber.served, member.subscriber)) {
            self.order.insert((turn, member.subscriber));
        }
        subscriber.served = turn;
    }

    /// Forgets the turns of subscribers that are gone.
    pub(super) fn retain(&mut self, known: impl Fn(SubscriberNumber) -> bool) {
        self.subscribers
            .retain(|number, subscriber| known(*number) || !subscriber.subscriptions.is_empty());
    }

    fn join(&mut self, member: Member, served: u64) {
        let subscriber = self.subscribers.entry(member.subscriber).or_default();
        if subscriber.subscriptions.is_empty() {
            self.order.insert((subscriber.served, member.subscriber));
        }
        subscriber.subscriptions.insert((served, member.subscription));
    }

    fn leave(&mut self, member: Member, served: u64) {
        let Some(subscriber) = self.subscribers.get_mut(&member.subscriber) else { return };
        subscriber.subscriptions.remove(&(served, member.subscription));
        if subscriber.subscriptions.is_empty() {
            self.order.remove(&(subscriber.served, member.subscriber));
        }
    }
}
