//! What an attempt tells about its endpoint, and what follows from that.

use super::{Round, component};
use crate::{
    decide::breaker::breaker,
    fact::FactBody,
    log::LogError,
    tally::{Tally, counted_anew},
};
use contract::{breaker::tells, delivery::AttemptReport, id::SubscriptionNumber};

/// Since then, a log may say that breakers opened and closed.
const BREAKERS_SINCE_FORMAT: u32 = 5;

impl Round<'_> {
    /// Counts an attempt that was recorded, and opens or closes the breaker of its subscription, or
    /// disables it.
    pub(super) fn judge(&mut self, report: &AttemptReport) -> Result<(), LogError> {
        let Some(delivered) = tells(report.attempt.cause) else { return Ok(()) };
        let number = report.delivery.lane.subscription();
        let config = &self.shared.config.breaker;
        let now = self.now;
        let tally = self.tally(number);
        tally.note(delivered, config.window.0, now);
        let tally = *tally;
        if self.state.format < BREAKERS_SINCE_FORMAT {
            return Ok(());
        }
        let Some(subscription) = self.state.subscriptions.get(&number) else { return Ok(()) };
        match breaker(config, subscription, &tally, now) {
            Some(fact) => self.record(&component("consumer"), &fact).map(|_place| ()),
            None => Ok(()),
        }
    }

    /// What is counted of a subscription is counted anew where something else is to be expected.
    pub(super) fn count_anew(&mut self, body: &FactBody) {
        if let Some(number) = counted_anew(body) {
            self.tallies.insert(number, Tally::default());
        }
    }

    fn tally(&mut self, number: SubscriptionNumber) -> &mut Tally {
        let shared = self.shared;
        let before = || shared.tallies().get(&number).copied().unwrap_or_default();
        self.tallies.entry(number).or_insert_with(before)
    }
}
