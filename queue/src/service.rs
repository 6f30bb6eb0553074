//! The queue as others see it: a lock around the schedule, the clock, and waking those who wait.

use crate::{
    Config, Metrics,
    receivers::Receivers,
    schedule::{Counts, LEVELS, Schedule},
};
use async_trait::async_trait;
use contract::{
    Result,
    clock::{Clock, Timestamp},
    id::SubscriptionNumber,
    master_api::FeedItem,
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
    rules::RulesReceiver,
};
use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How often the ages of the oldest deliveries are shown, by the queue's clock.
const OLDEST_SHOWN_EVERY: Duration = Duration::from_secs(1);

/// The message queue in memory: exact priorities, exact delays. It keeps nothing over a restart;
/// the feeder fills it again from the log.
///
/// It needs no task of its own: whoever calls it lets the time pass that has passed and applies
/// the rules that are new, and whoever waits for a lease wakes up for the next due time.
#[derive(Debug)]
pub struct MemoryQueue {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    /// Cloned by those who wait, so that new rules wake them.
    rules: RulesReceiver,
    /// There is something to lease, or time changes something earlier than was thought.
    eligible: Notify,
    /// A lane has room again.
    vacant: Notify,
    receivers: Receivers,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    rules: RulesReceiver,
    shown: [Counts; LEVELS],
    oldest_shown_at: Timestamp,
}

impl MemoryQueue {
    /// An empty queue. Fails with a sentence if the settings make no sense.
    pub fn new(
        config: Config,
        mut rules: RulesReceiver,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        config.check()?;
        let newest = Arc::clone(&rules.borrow_and_update());
        let now = clock.now();
        let state = State {
            schedule: Schedule::new(config, newest, now),
            rules: rules.clone(),
            shown: [Counts::default(); LEVELS],
            oldest_shown_at: now,
        };
        Ok(Arc::new(Self {
            state: Mutex::new(state),
            clock,
            metrics,
            rules,
            eligible: Notify::new(),
            vacant: Notify::new(),
            receivers: Receivers::default(),
        }))
    }

    /// Does something with the schedule as it stands now, and wakes those whom it concerns.
    fn with<R>(&self, act: impl FnOnce(&mut Schedule, Timestamp) -> R) -> R {
        let mut state = self.lock();
        let next_change = state.schedule.next_change();
        let now = self.clock.now();
        state.catch_up(now, &self.metrics);
        let result = act(&mut state.schedule, now);
        state.show(now, &self.metrics);
        let schedule = &state.schedule;
        let (eligible, vacant) = (schedule.has_eligible(), schedule.has_vacancies());
        let for_receivers = state.schedule.take_for_receivers();
        let schedule = &state.schedule;
        let sooner = match (schedule.next_change(), next_change) {
            (Some(next), Some(before)) => next < before,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        drop(state);

        if sooner {
            self.eligible.notify_waiters();
            self.receivers.wake_all();
        }
        for subscription in for_receivers {
            self.receivers.wake(subscription);
        }
        if eligible {
            // One at a time: who is woken takes what it can and wakes the next if more is left.
            self.eligible.notify_one();
        }
        if vacant {
            self.vacant.notify_one();
        }
        result
    }

    /// Repeats `attempt` until it gives something or `wait` is over. Between two attempts it
    /// sleeps until `signal`, until the time that the attempt named, or until the rules change.
    ///
    /// What an attempt gives is returned without another point of waiting, so a caller that goes
    /// away in the middle loses nothing.
    async fn wait_for<T>(
        &self,
        signal: &Notify,
        wait: Duration,
        mut attempt: impl FnMut(&mut Schedule, Timestamp) -> (Vec<T>, Option<Timestamp>) + Send,
    ) -> Vec<T>
    where
        T: Send,
    {
        let mut give_up = pin!(tokio::time::sleep(wait));
        let mut rules = self.rules.clone();
        let mut rules_end = false;
        loop {
            rules.mark_unchanged();
            let mut signalled = pin!(signal.notified());
            // Registered before looking, so that no signal falls between looking and sleeping.
            signalled.as_mut().enable();
            let (found, next_change) = self.with(&mut attempt);
            if !found.is_empty() || wait.is_zero() {
                return found;
            }
            let time_comes = async {
                match next_change {
                    Some(time) => self.clock.sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = signalled => {}
                () = time_comes => {}
                changed = rules.changed(), if !rules_end => rules_end = changed.is_err(),
                () = &mut give_up => return found,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Applies new rules and lets the time pass that has passed.
    fn catch_up(&mut self, now: Timestamp, metrics: &Metrics) {
        if self.rules.has_changed().unwrap_or(false) {
            let newest = Arc::clone(&self.rules.borrow_and_update());
            tracing::debug!(sequence = newest.sequence.0, "rules in force");
            self.schedule.set_rules(newest);
        }
        let expired = self.schedule.advance(now);
        if expired > 0 {
            metrics.leases_expired.inc_by(expired);
            tracing::warn!(leases = expired, "leases ran out; their deliveries wait again");
        }
    }

    /// Shows what changed.
    fn show(&mut self, now: Timestamp, metrics: &Metrics) {
        let counts = self.schedule.counts();
        for (level, (counts, shown)) in counts.iter().zip(&mut self.shown).enumerate() {
            if counts != shown {
                *shown = *counts;
                metrics.show_counts(level, *counts);
            }
        }
        if now.since(self.oldest_shown_at) >= OLDEST_SHOWN_EVERY {
            self.oldest_shown_at = now;
            metrics.show_oldest(&self.schedule.oldest(), now);
        }
    }
}

#[async_trait]
impl MessageQueue for MemoryQueue {
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        let answers: Vec<_> = self.with(|schedule, now| {
            items.into_iter().map(|item| schedule.enqueue(item, now)).collect()
        });
        let full = answers.iter().filter(|answer| **answer == Enqueued::Full).count();
        self.metrics.turned_away.inc_by(u64::try_from(full).unwrap_or(u64::MAX));
        Ok(answers)
    }

    async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Lease>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let start = |schedule: &mut Schedule, now: Timestamp| {
            let leases = (0..max).map_while(|_| schedule.start(now)).collect();
            (leases, schedule.next_change())
        };
        let leases = self.wait_for(&self.eligible, wait, start).await;
        self.metrics.leases.inc_by(u64::try_from(leases.len()).unwrap_or(u64::MAX));
        Ok(leases)
    }

    async fn lease_for(
        &self,
        subscription: SubscriptionNumber,
        max: u32,
        wait: Duration,
    ) -> Result<Vec<Lease>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let start = |schedule: &mut Schedule, now: Timestamp| {
            let leases = (0..max).map_while(|_| schedule.start_for(subscription, now)).collect();
            (leases, schedule.next_change())
        };
        let waiter = self.receivers.waiter(subscription);
        let leases = self.wait_for(&waiter.signal, wait, start).await;
        self.metrics.leases.inc_by(u64::try_from(leases.len()).unwrap_or(u64::MAX));
        Ok(leases)
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<()> {
        self.with(|schedule, now| {
            for (lease, settlement) in settlements {
                schedule.settle(&lease, settlement, now);
            }
        });
        Ok(())
    }

    async fn extend(&self, leases: Vec<Lease>) -> Result<Vec<Lease>> {
        Ok(self.with(|schedule, now| {
            leases.iter().filter_map(|lease| schedule.extend(lease, now)).collect()
        }))
    }

    async fn vacancies(&self, wait: Duration) -> Result<Vec<Vacancy>> {
        // Time alone makes no room.
        let take = |schedule: &mut Schedule, _now| (schedule.take_vacancies(), None);
        Ok(self.wait_for(&self.vacant, wait, take).await)
    }

    async fn depth(&self) -> Result<Vec<LaneDepth>> {
        Ok(self.with(|schedule, _now| schedule.depth()))
    }
}
