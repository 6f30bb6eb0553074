//! What it costs to find who wants an event, beside what it costs to read its payload: it grows
//! with the candidates and not with all subscriptions.
//!
//!     cargo bench -p broker

#![expect(clippy::expect_used, reason = "a benchmark that cannot run has nothing to report")]

use broker::matcher::Matcher;
use contract::{
    clock::Timestamp,
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::Sequence,
    rules::Rules,
    subscription::SubscriptionSpec,
    testing::{rules_with, subscription_spec},
};
use divan::{Bencher, black_box};

const PUSH: &[u8] = include_bytes!("../../schemas/examples/github/push.json");
/// Subscriptions of a large deployment.
const ALL: u32 = 10_000;

fn main() {
    divan::main();
}

fn push() -> NewEvent {
    NewEvent {
        uri: "github/1/push".parse().expect("a type"),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".into()),
        payload: PUSH.into(),
        content_type: "application/json".into(),
        headers: Headers(vec![("x-github-event".into(), "push".into())]),
        idempotency_key: None,
        received_at: Timestamp(0),
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: Sequence(0),
    }
}

/// Subscriptions to all of `github/1`, each with the filter of its number.
fn rules(count: u32, filter: impl Fn(u32) -> Option<String>) -> Rules {
    rules_with((0..count).map(|number| SubscriptionSpec {
        filter: filter(number),
        ..subscription_spec(&format!("number {number}"))
    }))
}

fn place(bencher: Bencher<'_, '_>, rules: &Rules, wanted: usize) {
    let (matcher, event) = (Matcher::new(rules, None), push());
    assert_eq!(matcher.place(rules, &event).lanes.len(), wanted);
    bencher.bench_local(|| matcher.place(rules, black_box(&event)));
}

/// The yardstick: what `serde_json` takes for the payload alone.
#[divan::bench]
fn payload_parsed(bencher: Bencher<'_, '_>) {
    bencher.bench(|| serde_json::from_slice::<serde_json::Value>(black_box(PUSH)));
}

/// Another branch for each; the event is of one of them.
#[divan::bench(args = [10, 100, 1_000, ALL])]
fn one_of_so_many_wants_it(bencher: Bencher<'_, '_>, all: u32) {
    let branch = |number| match number {
        0 => Some(r#"event.ref == "refs/heads/main""#.to_owned()),
        number => Some(format!(r#"event.ref == "refs/heads/branch-{number}""#)),
    };
    place(bencher, &rules(all, branch), 1);
}

/// So many candidates among 10,000, whose filters have to be run.
#[divan::bench(args = [1, 10, 100, 1_000])]
fn so_many_candidates_run_and_want_it(bencher: Bencher<'_, '_>, candidates: u32) {
    let filter = |number| {
        let branch = if number < candidates { "refs/heads/main" } else { "refs/heads/other" };
        Some(format!(r#"event.ref == "{branch}" && size(event.commits) < {}"#, 1_000 + number))
    };
    place(bencher, &rules(ALL, filter), usize::try_from(candidates).expect("it fits"));
}

/// Every one of 10,000 asks for a header of its own: no hash of one place finds them together.
#[divan::bench]
fn each_asks_another_place(bencher: Bencher<'_, '_>) {
    let filter = |number| Some(format!(r#"headers["x-{number}"] == "yes""#));
    place(bencher, &rules(ALL, filter), 0);
}

/// The worst: nothing in any of 10,000 filters that a hash can find.
#[divan::bench(sample_count = 20)]
fn all_have_to_be_run(bencher: Bencher<'_, '_>) {
    let filter = |number| Some(format!("size(event.commits) > {}", 1_000 + number));
    place(bencher, &rules(ALL, filter), 0);
}

/// 10,000 filters, each another one, at a start; and when one subscription changes.
#[divan::bench(sample_count = 3)]
fn compiled_at_a_start(bencher: Bencher<'_, '_>) {
    let rules = rules(ALL, |number| Some(format!(r#"event.ref == "branch-{number}""#)));
    bencher.bench_local(|| Matcher::new(&rules, None));
}

#[divan::bench(sample_count = 10)]
fn compiled_after_a_change(bencher: Bencher<'_, '_>) {
    let rules = rules(ALL, |number| Some(format!(r#"event.ref == "branch-{number}""#)));
    let before = Matcher::new(&rules, None);
    bencher.bench_local(|| Matcher::new(&rules, Some(&before)));
}
