use super::*;
use contract::{
    id::SubscriptionNumber,
    testing::{subscription, subscription_spec},
};
use std::time::Duration;

const START: Timestamp = Timestamp(1_795_224_540_000_000);

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn endpoint() -> Subscription {
    subscription(7, subscription_spec("ci"))
}

fn open(since: Timestamp) -> Subscription {
    let probe_every = BreakerConfig::default().probe_every;
    let breaker = Some(Breaker { since, attempts: 20, failures: 20, probe_every });
    Subscription { breaker, ..endpoint() }
}

/// A tally of these attempts, one a second, and the time of the last.
fn tally(delivered: impl IntoIterator<Item = bool>) -> (Tally, Timestamp) {
    let (mut tally, mut second) = (Tally::default(), 0);
    for delivered in delivered {
        second += 1;
        tally.note(delivered, BreakerConfig::default().window.0, at(second));
    }
    (tally, at(second))
}

fn decide(config: &BreakerConfig, of: &Subscription, delivered: &[bool]) -> Option<FactBody> {
    let (tally, now) = tally(delivered.iter().copied());
    breaker(config, of, &tally, now)
}

#[test]
fn opens_at_twenty_attempts_with_nine_of_ten_failed() {
    let config = BreakerConfig::default();
    let decide = |delivered: &[bool]| decide(&config, &endpoint(), delivered);
    assert_eq!(decide(&[false; 19]), None);
    let opened = decide(&[false; 20]);
    let breaker =
        Breaker { since: at(20), attempts: 20, failures: 20, ..open(START).breaker.unwrap() };
    let number = SubscriptionNumber(7);
    assert_eq!(opened, Some(FactBody::BreakerOpened { number, breaker }));

    let with = |successes: usize| [vec![true; successes], vec![false; 20 - successes]].concat();
    assert!(matches!(decide(&with(2)), Some(FactBody::BreakerOpened { .. })));
    assert_eq!(decide(&with(3)), None);
}

#[test]
fn twenty_failures_in_more_than_a_minute_are_few() {
    let mut tally = Tally::default();
    let config = BreakerConfig::default();
    for n in 0..40 {
        tally.note(false, config.window.0, at(n * 5));
        assert_eq!(breaker(&config, &endpoint(), &tally, at(n * 5)), None);
    }
}

#[test]
fn a_success_closes_and_a_failure_leaves_open() {
    let config = BreakerConfig::default();
    let number = SubscriptionNumber(7);
    let closed = Some(FactBody::BreakerClosed { number });
    assert_eq!(decide(&config, &open(START), &[true]), closed);
    assert_eq!(decide(&config, &endpoint(), &[true]), None);
    assert_eq!(decide(&config, &open(START), &[false; 30]), None);
}

#[test]
fn it_can_be_off_and_what_is_paused_is_left_as_it_is() {
    let off = BreakerConfig { enabled: false, ..BreakerConfig::default() };
    assert_eq!(decide(&off, &endpoint(), &[false; 100]), None);
    // One that was open when it was switched off is closed by the next success.
    assert!(decide(&off, &open(START), &[true]).is_some());
    let paused = Subscription { status: SubscriptionStatus::Paused, ..endpoint() };
    assert_eq!(decide(&BreakerConfig::default(), &paused, &[false; 100]), None);
}

#[test]
fn long_failure_disables() {
    let config = BreakerConfig::default();
    let mut tally = Tally::default();
    let days = |days: u64| at(days * 86_400);
    tally.note(false, config.window.0, days(5));
    let is_disabled = |fact: Option<FactBody>| {
        let disabled = SubscriptionStatus::Disabled;
        matches!(fact, Some(FactBody::SubscriptionStatusChanged { status, .. }) if status == disabled)
    };
    // The breaker tells how long, also when this process has seen one attempt only.
    let just_before = breaker(&config, &open(at(1)), &tally, days(5));
    assert_eq!(just_before, None);
    assert!(is_disabled(breaker(&config, &open(START), &tally, days(5))));
    // Attempts that are too few to open a breaker tell it, too, if they are enough.
    let mut rare = Tally::default();
    for n in 0..20 {
        assert_eq!(breaker(&config, &endpoint(), &rare, days(n)), None);
        rare.note(false, config.window.0, days(n));
    }
    assert!(is_disabled(breaker(&config, &endpoint(), &rare, days(19))));
    let never = BreakerConfig { disable_after: "0s".parse().unwrap(), ..config };
    assert_eq!(breaker(&never, &open(START), &rare, days(19)), None);
}
