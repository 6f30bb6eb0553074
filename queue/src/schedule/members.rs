//! Whose deliveries the schedule holds: subscriptions are met with their first delivery, revised
//! as the rules change, and dropped when the rules name them no more.

use super::{
    Schedule,
    lane::Counts,
    line::Order,
    subscription::{Subscription, Terms},
    turns::{Place, SubscriberNumber},
};
use contract::{id::SubscriptionNumber, rules::Rules};
use std::{collections::BTreeSet, sync::Arc};

impl Schedule {
    /// From now on these rules are in force.
    pub(crate) fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        let numbers: Vec<_> = self.subscriptions.keys().copied().collect();
        for number in &numbers {
            self.revise(*number);
        }
        let most_before = self.most_of_one;
        self.divide_slots();
        if self.most_of_one != most_before {
            numbers.into_iter().for_each(|number| self.relist(number));
        }
        for (lane, sequence) in std::mem::take(&mut self.strangers) {
            if self.rules.subscriptions.contains_key(&lane.subscription()) {
                self.vacant.insert(lane);
            } else if self.rules.sequence < sequence {
                self.strangers.insert(lane, sequence);
            }
        }
        let used: BTreeSet<_> = self.subscriptions.values().map(|s| s.member.subscriber).collect();
        self.subscribers.retain(|_, number| used.contains(number));
        for turns in &mut self.turns {
            turns.retain(|number| used.contains(&number));
        }
    }

    /// Makes itself acquainted with a subscription; false if the rules do not name it.
    pub(super) fn meet(&mut self, number: SubscriptionNumber) -> bool {
        if self.subscriptions.contains_key(&number) {
            return true;
        }
        let Some(subscription) = self.rules.subscriptions.get(&number).map(Arc::clone) else {
            return false;
        };
        let subscriber = self.subscriber(subscription.spec.subscriber.as_ref());
        let terms = Terms::from(subscription.as_ref());
        self.subscriptions.insert(number, Subscription::new(number, subscriber, terms));
        self.set_pace(number, terms.pace());
        true
    }

    fn subscriber(&mut self, id: Option<&String>) -> SubscriberNumber {
        let next = SubscriberNumber(self.subscribers_ever);
        let number = *self.subscribers.entry(id.cloned()).or_insert(next);
        if number == next {
            self.subscribers_ever += 1;
        }
        number
    }

    /// Applies the rules in force to a subscription that was met before.
    fn revise(&mut self, number: SubscriptionNumber) {
        let rule = self.rules.subscriptions.get(&number).map(Arc::clone);
        let Some(rule) = rule else {
            self.leave_turns(number);
            self.drop_lanes(number);
            return;
        };
        let subscriber = self.subscriber(rule.spec.subscriber.as_ref());
        let terms = Terms::from(rule.as_ref());
        let Some(before) = self.subscriptions.get(&number) else { return };
        let is_repaced =
            (before.terms.rate_limit, before.terms.breaker) != (terms.rate_limit, terms.breaker);
        if before.terms == terms && before.member.subscriber == subscriber {
            return;
        }
        if before.terms.order != terms.order {
            self.reorder(number, terms.order);
        }
        self.leave_turns(number);
        if is_repaced {
            self.set_pace(number, terms.pace());
        }
        if let Some(subscription) = self.subscriptions.get_mut(&number) {
            let before = subscription.terms;
            if (before.max_in_flight, before.pull) != (terms.max_in_flight, terms.pull) {
                subscription.cap = terms.cap();
            }
            subscription.terms = terms;
            subscription.member.subscriber = subscriber;
        }
        self.enter_turns(number);
    }

    /// From now on the lanes of a subscription keep this order.
    fn reorder(&mut self, number: SubscriptionNumber, order: Order) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        subscription.terms.order = order;
        let lanes: Vec<_> = subscription.lanes.iter().map(|(lane, _)| *lane).collect();
        for lane in lanes {
            self.change(lane, |held| held.set_order(order));
        }
    }

    /// Takes a subscription out of the turns and counts of its priorities.
    fn leave_turns(&mut self, number: SubscriptionNumber) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        for mut place in std::mem::take(&mut subscription.places) {
            self.turns[place.level].list(subscription.member, &mut place, None);
        }
        for (lane, held) in &subscription.lanes {
            let level = subscription.level(*lane);
            self.counts[level] = self.counts[level].moved(held.counts(), Counts::default());
            if subscription.terms.pull {
                self.pulled[level] -= held.counts().in_flight;
            }
        }
    }

    /// The reverse of [`Self::leave_turns`], at the priorities that its lanes have now.
    fn enter_turns(&mut self, number: SubscriptionNumber) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        let levels: BTreeSet<_> =
            subscription.lanes.iter().map(|(lane, _)| subscription.level(*lane)).collect();
        subscription.places = levels.into_iter().map(Place::new).collect();
        for (lane, held) in &subscription.lanes {
            let level = subscription.level(*lane);
            self.counts[level] = self.counts[level].moved(Counts::default(), held.counts());
            if subscription.terms.pull {
                self.pulled[level] += held.counts().in_flight;
            }
        }
        self.relist(number);
    }

    /// Drops all that is held of a subscription that is no more.
    fn drop_lanes(&mut self, number: SubscriptionNumber) {
        self.leases.forget(number);
        self.set_pace(number, None);
        self.for_receivers.remove(&number);
        let Some(subscription) = self.subscriptions.remove(&number) else { return };
        for (lane, held) in &subscription.lanes {
            self.vacant.remove(lane);
            if let Some(due) = held.next_due() {
                self.timers.remove(&(due, *lane));
            }
        }
    }
}
