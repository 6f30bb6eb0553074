//! Takes down an attempt, if it is the one that was to come.

use crate::{
    fact::FactBody,
    lifecycle::{self, Trigger},
    tables::DeliveryRow,
};
use contract::{
    clock::Timestamp,
    delivery::{AttemptReport, Next},
};

/// None: the report is late, and nothing changes.
pub fn record_attempt(
    row: Option<&DeliveryRow>,
    report: &AttemptReport,
    now: Timestamp,
) -> Option<FactBody> {
    let row = row?;
    lifecycle::after(row.state, Trigger::of(report.next))?;
    let expected = row.next_attempt();
    if report.attempt.number != expected {
        return None;
    }
    let next = match report.next {
        // Never before the log's own time: whoever scanned up to now has not passed it by.
        Next::Retry(due) => Next::Retry(due.max(now)),
        Next::Done => Next::Done,
        Next::Dead(cause) => Next::Dead(cause),
    };
    let attempt = Box::new(report.attempt.clone());
    Some(FactBody::AttemptRecorded { delivery: report.delivery, attempt, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{
        delivery::{Attempt, DeliveryState},
        id::{DeliveryId, EventId, LaneId, Sequence},
    };

    fn report(number: u32, next: Next) -> AttemptReport {
        let attempt = Attempt {
            number,
            started_at: Timestamp(1),
            duration_ms: 2,
            status: Some(500),
            cause: None,
            error: None,
            address: None,
            response_excerpt: None,
            backoff_rule: None,
        };
        let delivery = DeliveryId { lane: LaneId(16), sequence: Sequence(1) };
        AttemptReport { delivery, attempt, exchange: None, next, pause_subscription: false }
    }

    #[test]
    fn only_the_next_attempt_of_a_waiting_delivery_counts() {
        let now = Timestamp(100);
        let mut row = DeliveryRow::new(EventId::from_bytes([1; 16]), now);
        assert!(record_attempt(None, &report(1, Next::Done), now).is_none());
        assert!(record_attempt(Some(&row), &report(2, Next::Done), now).is_none());
        assert!(record_attempt(Some(&row), &report(1, Next::Done), now).is_some());
        row.state = DeliveryState::Delivered;
        assert!(record_attempt(Some(&row), &report(1, Next::Done), now).is_none());
    }

    #[test]
    fn a_retry_is_never_due_in_the_past() {
        let row = DeliveryRow::new(EventId::from_bytes([1; 16]), Timestamp(0));
        let fact = record_attempt(Some(&row), &report(1, Next::Retry(Timestamp(5))), Timestamp(9));
        let Some(FactBody::AttemptRecorded { next, .. }) = fact else { panic!("{fact:?}") };
        assert_eq!(next, Next::Retry(Timestamp(9)));
    }
}
