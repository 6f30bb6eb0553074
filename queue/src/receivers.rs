//! Waking the receivers of one subscription, and nobody else's.

use contract::id::SubscriptionNumber;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Who waits for the deliveries of which subscription. As many as there are calls that wait.
#[derive(Debug, Default)]
pub(crate) struct Receivers(Mutex<HashMap<SubscriptionNumber, Arc<Notify>>>);

/// One who waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiter<'a> {
    receivers: &'a Receivers,
    subscription: SubscriptionNumber,
    /// There is something, or time changes something earlier than was thought.
    pub(crate) signal: Arc<Notify>,
}

impl Receivers {
    /// One more who waits for the deliveries of a subscription.
    pub(crate) fn waiter(&self, subscription: SubscriptionNumber) -> Waiter<'_> {
        let signal = Arc::clone(self.lock().entry(subscription).or_default());
        Waiter { receivers: self, subscription, signal }
    }

    /// There is something for those of a subscription: whoever takes part of it wakes the next.
    pub(crate) fn wake(&self, subscription: SubscriptionNumber) {
        if let Some(signal) = self.lock().get(&subscription) {
            signal.notify_one();
        }
    }

    /// They are all to look again when time changes something.
    pub(crate) fn wake_all(&self) {
        self.lock().values().for_each(|signal| signal.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SubscriptionNumber, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.receivers.lock();
        // The map's own and this one's: nobody else waits.
        if Arc::strong_count(&self.signal) == 2 {
            waiting.remove(&self.subscription);
        }
    }
}
