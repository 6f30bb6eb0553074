//! Who works on what, and until when.

use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    queue::Lease,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Room for this many bits of counter below each microsecond of the epoch.
const COUNTER_BITS: u32 = 8;

#[derive(Debug)]
struct Grant {
    token: u64,
    deadline: Timestamp,
    /// When the delivery was due, for when it comes back.
    due: Timestamp,
}

/// The leases that are held.
#[derive(Debug)]
pub(super) struct Leases {
    /// Tokens count up from the time at which the queue began (its epoch), so that no token of a
    /// queue before it is ever given again: it would have to give 256 leases a microsecond.
    next_token: u64,
    time: Duration,
    granted: BTreeMap<DeliveryId, Grant>,
    deadlines: BTreeSet<(Timestamp, DeliveryId)>,
}

impl Leases {
    pub(super) fn new(time: Duration, epoch: Timestamp) -> Self {
        let epoch = u64::try_from(epoch.0).unwrap_or(0);
        Self {
            next_token: epoch << COUNTER_BITS,
            time,
            granted: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Leases a delivery that was due at `due`.
    pub(super) fn grant(&mut self, delivery: DeliveryId, due: Timestamp, now: Timestamp) -> Lease {
        self.next_token += 1;
        let lease = Lease { delivery, token: self.next_token, deadline: now.after(self.time) };
        let grant = Grant { token: lease.token, deadline: lease.deadline, due };
        self.granted.insert(delivery, grant);
        self.deadlines.insert((lease.deadline, delivery));
        lease
    }

    /// Ends a lease; false if it is not held.
    pub(super) fn end(&mut self, lease: &Lease) -> bool {
        if self.held(lease).is_none() {
            return false;
        }
        self.remove(lease.delivery).is_some()
    }

    /// Extends a lease; None if it is not held.
    pub(super) fn extend(&mut self, lease: &Lease, now: Timestamp) -> Option<Lease> {
        let deadline = now.after(self.time);
        let grant = self.held(lease)?;
        let before = std::mem::replace(&mut grant.deadline, deadline);
        self.deadlines.remove(&(before, lease.delivery));
        self.deadlines.insert((deadline, lease.delivery));
        Some(Lease { deadline, ..*lease })
    }

    /// Ends one lease whose deadline has come: which delivery, and when it was due.
    pub(super) fn expire(&mut self, now: Timestamp) -> Option<(DeliveryId, Timestamp)> {
        let (deadline, delivery) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(delivery).map(|grant| (delivery, grant.due))
    }

    /// When the next lease runs out.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ends all leases of a subscription.
    pub(super) fn forget(&mut self, subscription: SubscriptionNumber) {
        let edge = |low_bits, sequence| DeliveryId {
            lane: LaneId((subscription.0 << 4) | low_bits),
            sequence: Sequence(sequence),
        };
        let range = edge(0, 0)..=edge(0xF, u64::MAX);
        let deliveries: Vec<_> = self.granted.range(range).map(|(id, _)| *id).collect();
        for delivery in deliveries {
            self.remove(delivery);
        }
    }

    fn held(&mut self, lease: &Lease) -> Option<&mut Grant> {
        self.granted.get_mut(&lease.delivery).filter(|grant| grant.token == lease.token)
    }

    fn remove(&mut self, delivery: DeliveryId) -> Option<Grant> {
        let grant = self.granted.remove(&delivery)?;
        self.deadlines.remove(&(grant.deadline, delivery));
        Some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: DeliveryId = DeliveryId { lane: LaneId(21), sequence: Sequence(7) };

    fn leases(epoch: i64) -> Leases {
        Leases::new(Duration::from_micros(10), Timestamp(epoch))
    }

    #[test]
    fn a_token_is_never_given_again_by_a_later_queue() {
        let mut first = leases(1_000);
        let tokens: Vec<_> =
            (0..200).map(|_| first.grant(DELIVERY, Timestamp(0), Timestamp(1_000)).token).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b));
        let mut second = leases(1_001);
        let lease = second.grant(DELIVERY, Timestamp(0), Timestamp(1_001));
        assert!(!tokens.contains(&lease.token));
    }

    #[test]
    fn only_the_holder_ends_or_extends() {
        let mut leases = leases(0);
        let old = leases.grant(DELIVERY, Timestamp(3), Timestamp(5));
        assert_eq!(leases.expire(Timestamp(14)), None);
        assert_eq!(leases.expire(Timestamp(15)), Some((DELIVERY, Timestamp(3))));
        let new = leases.grant(DELIVERY, Timestamp(3), Timestamp(15));
        assert_eq!(leases.extend(&old, Timestamp(16)), None);
        assert!(!leases.end(&old));
        assert_eq!(leases.extend(&new, Timestamp(20)).unwrap().deadline, Timestamp(30));
        assert_eq!(leases.next_deadline(), Some(Timestamp(30)));
        assert!(leases.end(&new));
        assert_eq!(leases.next_deadline(), None);
    }

    #[test]
    fn a_forgotten_subscription_takes_its_leases_along() {
        let mut leases = leases(0);
        leases.grant(DELIVERY, Timestamp(0), Timestamp(0));
        let other = DeliveryId { lane: LaneId(32), ..DELIVERY };
        leases.grant(other, Timestamp(0), Timestamp(0));
        leases.forget(SubscriptionNumber(1));
        assert_eq!(leases.expire(Timestamp(99)), Some((other, Timestamp(0))));
        assert_eq!(leases.expire(Timestamp(99)), None);
    }
}
