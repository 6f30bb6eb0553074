//! What went over the wire in an attempt is kept as long as the payload, and no longer.

use super::harness::{Bench, DAY, exchange, forgetful, operator, principal, report};
use crate::{
    codec, graphql,
    store::{Scan, Table},
};
use async_graphql::Request;
use contract::{
    ErrorCode,
    delivery::Next,
    exchange::{Exchange, ExchangeRecord},
    id::{DeliveryId, LaneId},
    limits::{EXCHANGES_BYTES_MAX, RESPONSE_BODY_BYTES_MAX},
    master_api::{Deliveries, PageRequest, Stored},
    retention::{ErasureTarget, Retention},
};

/// A row as it is written since format 4. It is read for ever, and never edited.
const ROW: &str = "\
    0184a16f91ac636f6e74656e742d74797065a1619292ac636f6e74656e742d74797065aa746578742f706c61\
    696e92a8686d61632d736967a9534841323536203030a1729192a6736572766572a36f6464a162c408616e73\
    7765722031";

#[test]
fn a_row_that_was_written_once_is_read_for_ever() {
    let row = codec::encode(&exchange(1)).unwrap();
    assert_eq!(hex::encode(&row), ROW);
    let read: ExchangeRecord = codec::decode(&row).unwrap();
    assert_eq!(read, exchange(1));
    let empty: ExchangeRecord = codec::decode(b"\x01\x80").unwrap();
    assert_eq!(empty, ExchangeRecord::default());
}

async fn attempt(bench: &Bench, stored: &Stored, lane: LaneId, number: u32, next: Next) -> bool {
    let id = DeliveryId { lane, sequence: stored.sequence };
    bench.attempt(id, number, next).await
}

/// All that is told of a delivery, page by page.
async fn exchanges(bench: &Bench, id: DeliveryId) -> Vec<Exchange> {
    let mut page = PageRequest { first: 1, after: None };
    let mut all = Vec::new();
    loop {
        let found = bench.api.exchanges(id, page.clone()).await.unwrap();
        assert!(found.items.len() <= 1);
        all.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return all;
        }
    }
}

/// Exchanges that lie in the store, whosever.
fn kept(bench: &Bench) -> usize {
    let store = &bench.api.shared.store;
    let tables = store.tables().into_iter().filter(|table| matches!(table, Table::Payloads(_)));
    let rows = tables.flat_map(|table| store.scan(&Scan::all(table, usize::MAX)).unwrap());
    rows.filter(|(key, _)| key.len() == 16).count()
}

#[tokio::test]
async fn attempts_tell_what_was_sent_and_answered() {
    let bench = Bench::embedded();
    let (lane, other) = (bench.subscribe("ci").await, bench.subscribe("cd").await);
    let stored = bench.store(&[lane, other]).await;
    let id = DeliveryId { lane, sequence: stored.sequence };
    assert_eq!(exchanges(&bench, id).await, []);
    let later = Next::Retry(super::harness::now(&bench));
    assert!(attempt(&bench, &stored, lane, 1, later).await);
    assert!(!attempt(&bench, &stored, lane, 1, Next::Done).await, "it comes too late");
    assert!(attempt(&bench, &stored, lane, 2, Next::Done).await);
    assert!(attempt(&bench, &stored, other, 1, Next::Done).await);
    let bench = bench.reopen().await;
    let found = exchanges(&bench, id).await;
    let bodies: Vec<_> = found.iter().map(|e| (e.number, &e.response_body[..])).collect();
    assert_eq!(bodies, [(1, &b"answer 1"[..]), (2, b"answer 2")]);
    let sent = &found[1].request_headers;
    assert_eq!(sent.get("webhook-id"), Some(stored.id.to_string().as_str()));
    assert_eq!(sent.get("certes-attempt"), Some("2"));
    assert_eq!(sent.get("content-type"), Some("text/plain"), "as it was sent");
    assert_eq!(found[1].response_headers, exchange(2).response_headers);
    let attempts = bench.api.delivery(id).await.unwrap().unwrap().attempts;
    assert_eq!(attempts.len(), 2);
    bench.assert_verified().await;
}

/// Each page has room in a message; a query goes through all of them.
#[tokio::test]
async fn many_long_answers_come_in_pages() {
    const ATTEMPTS: u32 = 80;
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let id = DeliveryId { lane, sequence: bench.store(&[lane]).await.sequence };
    for number in 1..=ATTEMPTS {
        let mut report = report(id, number, Next::Retry(super::harness::now(&bench)));
        let body = vec![b'x'; RESPONSE_BODY_BYTES_MAX].into();
        report.exchange =
            Some(Box::new(ExchangeRecord { response_body: body, ..exchange(number) }));
        assert_eq!(bench.api.record_attempts(vec![report]).await.unwrap(), [true]);
    }
    let first = bench.api.exchanges(id, PageRequest { first: 500, after: None }).await.unwrap();
    let bytes: usize = first.items.iter().map(|exchange| exchange.response_body.len()).sum();
    let page = EXCHANGES_BYTES_MAX - RESPONSE_BODY_BYTES_MAX
        ..EXCHANGES_BYTES_MAX + RESPONSE_BODY_BYTES_MAX;
    assert!(page.contains(&bytes), "{bytes}");
    let rest = PageRequest { first: 500, after: first.next.clone() };
    let rest = bench.api.exchanges(id, rest).await.unwrap();
    let numbers = first.items.iter().chain(&rest.items).map(|exchange| exchange.number);
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=ATTEMPTS).collect::<Vec<_>>());
    assert_eq!(rest.next, None);
    let broken = PageRequest { first: 1, after: Some("x".into()) };
    let refused = bench.api.exchanges(id, broken).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);

    let query = format!(
        "{{ delivery(id: \"{id}\") {{ attempts {{ number exchange {{ responseCut requestHeaders {{ value }} }} }} }} }}"
    );
    let schema = graphql::schema(bench.api.clone(), None, None);
    let admin = principal(&["admin"], None);
    let answer = graphql::answer(&schema, Some(admin), Request::new(query)).await.unwrap();
    assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    let answer = answer.data.into_json().unwrap();
    let attempts = answer["delivery"]["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), ATTEMPTS as usize);
    for attempt in attempts {
        let sent = attempt["exchange"]["requestHeaders"].as_array().unwrap();
        let number = serde_json::json!({ "value": attempt["number"].to_string() });
        assert!(sent.contains(&number), "{attempt}");
    }
}

#[tokio::test]
async fn an_erased_events_attempts_keep_nothing() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let (stored, other) = (bench.store(&[lane]).await, bench.store(&[lane]).await);
    for stored in [&stored, &other] {
        let later = Next::Retry(super::harness::now(&bench));
        assert!(attempt(&bench, stored, lane, 1, later).await);
        assert!(attempt(&bench, stored, lane, 2, Next::Done).await);
    }
    assert_eq!(kept(&bench), 4);
    bench.api.erase(operator(), ErasureTarget::Event(stored.id)).await.unwrap();
    assert_eq!(kept(&bench), 2);
    let id = DeliveryId { lane, sequence: stored.sequence };
    assert_eq!(exchanges(&bench, id).await, []);
    assert_eq!(bench.api.delivery(id).await.unwrap().unwrap().attempts.len(), 2);
    let id = DeliveryId { lane, sequence: other.sequence };
    assert_eq!(exchanges(&bench, id).await.len(), 2);
    bench.assert_verified().await;
}

#[tokio::test]
async fn they_go_with_their_day() {
    let bench = Bench::with_config(|config| *config = forgetful(config.clone()));
    let lane = bench.subscribe("ci").await;
    let (done, waiting) = (bench.store(&[lane]).await, bench.store(&[lane]).await);
    assert!(attempt(&bench, &done, lane, 1, Next::Done).await);
    let later = Next::Retry(super::harness::now(&bench));
    assert!(attempt(&bench, &waiting, lane, 1, later).await);
    // An attempt of another day lies with its event.
    bench.clock.advance(DAY);
    bench.store(&[]).await;
    let later = Next::Retry(super::harness::now(&bench));
    assert!(attempt(&bench, &waiting, lane, 2, later).await);
    assert_eq!(kept(&bench), 3);
    bench.clock.advance(DAY * 3);
    bench.api.run_retention(false).await.unwrap();
    assert_eq!(kept(&bench), 0);
    // What was carried goes on where it lies now.
    assert!(attempt(&bench, &waiting, lane, 3, Next::Done).await);
    let id = DeliveryId { lane, sequence: waiting.sequence };
    let found = exchanges(&bench, id).await;
    assert_eq!(found.iter().map(|exchange| exchange.number).collect::<Vec<_>>(), [3]);
    bench.assert_verified().await;
}
