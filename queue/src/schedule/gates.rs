//! When the paces of subscriptions let the next start through. Who waits for that is not listed in
//! the turns, so it costs nobody else a look.

use super::{Schedule, pace::Pace};
use contract::{clock::Timestamp, id::SubscriptionNumber};
use std::collections::BTreeSet;

/// Subscriptions that start nothing before a time, by that time.
#[derive(Debug, Default)]
pub(super) struct Gates(BTreeSet<(Timestamp, SubscriptionNumber)>);

impl Gates {
    /// When the next one opens.
    pub(super) fn next_opening(&self) -> Option<Timestamp> {
        self.0.first().map(|(time, _)| *time)
    }

    fn pop(&mut self, now: Timestamp) -> Option<SubscriptionNumber> {
        let (time, number) = *self.0.first()?;
        if time > now {
            return None;
        }
        self.0.pop_first();
        Some(number)
    }
}

impl Schedule {
    /// One of a subscription starts now: its pace may let no other through for a while.
    pub(super) fn pass_gate(&mut self, number: SubscriptionNumber, now: Timestamp) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        let Some(pace) = &mut subscription.pace else { return };
        pace.start(now);
        let free_at = pace.free_at();
        if free_at > now {
            subscription.gate = Some(free_at);
            self.gates.0.insert((free_at, number));
        }
    }

    /// Opens the gates whose time has come.
    pub(super) fn open_gates(&mut self, now: Timestamp) {
        while let Some(number) = self.gates.pop(now) {
            let Some(subscription) = self.subscriptions.get_mut(&number) else { continue };
            subscription.gate = None;
            let waited_for = subscription.has_ready();
            if let Some(pace) = &mut subscription.pace {
                pace.waited_for(waited_for);
            }
            self.relist(number);
        }
    }

    /// From now on a subscription starts at another pace.
    pub(super) fn set_pace(&mut self, number: SubscriptionNumber, pace: Option<Pace>) {
        let Some(subscription) = self.subscriptions.get_mut(&number) else { return };
        if let Some(shut) = subscription.gate.take() {
            self.gates.0.remove(&(shut, number));
        }
        subscription.pace = pace;
        // One whose time has come is opened at once by whoever lets time pass.
        let shut = pace.map(Pace::free_at).filter(|free_at| *free_at > Timestamp(0));
        if let Some(free_at) = shut {
            subscription.gate = Some(free_at);
            self.gates.0.insert((free_at, number));
        }
    }
}
