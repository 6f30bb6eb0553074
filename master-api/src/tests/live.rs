//! What happens, as it happens: who is told what, and what a slow reader costs.

use super::harness::{Bench, operator, principal, put_subscription, subscription};
use crate::graphql::{self, Connected};
use async_graphql::{
    Data, Executor, Request, Response,
    futures_util::{Stream, StreamExt, stream},
};
use contract::{
    ErrorCode,
    access::{Actor, Principal, Roles},
    authenticate::{Authenticate, Holder, Keys},
    command::Command,
    delivery::Next,
    follow::{Follower, LAG_MAX},
    id::{DeliveryId, LaneId, Sequence},
    limits::LOG_WAIT_MAX,
    master_api::{Configuration, Events},
    retention::{ErasureTarget, Retention},
    secret::Secret,
    subscription::{Priority, Subscriber},
};
use serde_json::{Value, json};
use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

type Answers = Pin<Box<dyn Stream<Item = Response> + Send>>;

/// Subscribes, and begins to listen: what is stored after this is seen.
async fn listen(bench: &Bench, principal: Principal, query: &str) -> Answers {
    let mut session = Data::default();
    session.insert(principal);
    listen_within(bench, session, query).await
}

async fn listen_within(bench: &Bench, session: Data, query: &str) -> Answers {
    let schema = graphql::schema(bench.api.clone(), None, None);
    let mut answers =
        Connected(schema).execute_stream(Request::new(query), Some(Arc::new(session)));
    // The first look is what finds the end of the log.
    let first = poll_fn(|context| Poll::Ready(answers.as_mut().poll_next(context))).await;
    match first {
        Poll::Ready(Some(first)) => Box::pin(stream::iter([first]).chain(answers)),
        Poll::Ready(None) | Poll::Pending => answers,
    }
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

/// A key that may listen.
struct Ears {
    who: Arc<Keys>,
    token: Secret,
    caller: Principal,
}

impl Ears {
    async fn new(bench: &Bench) -> Self {
        let roles = Roles::parse(["events:read", "subscriptions:read"]).unwrap();
        let (name, subscriber, expires_at) = ("ears".into(), None, None);
        let issue = Command::IssueKey { name, roles, subscriber, expires_at };
        let token = bench.execute(vec![issue]).await.unwrap().remove(0).revealed.unwrap();
        let who = Arc::new(Keys::new(bench.api.rules(), bench.clock.clone()));
        let caller = who.authenticate(&token).await.unwrap();
        Self { who, token, caller }
    }

    /// What a connection knows of its holder.
    fn session(&self) -> Data {
        let Self { who, token, caller } = self;
        let mut session = Data::default();
        session.insert(Holder::new(who.clone(), token.clone(), caller.clone()));
        session.insert(caller.clone());
        session
    }

    async fn revoke(&self, bench: &Bench) {
        let Actor::Key(key) = self.caller.actor else { panic!("held by {:?}", self.caller) };
        bench.execute(vec![Command::RevokeKey(key)]).await.unwrap();
    }
}

async fn next(answers: &mut Answers) -> Value {
    let answer = tokio::time::timeout(Duration::from_secs(30), answers.next()).await;
    serde_json::to_value(answer.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn events_come_as_they_are_stored_and_only_those_that_are_wanted() {
    let bench = Bench::memory();
    let query = r#"subscription { events(filter: {type: "shop/1/*"}) { event { id type } } }"#;
    let mut answers = listen(&bench, principal(&["events:read"], None), query).await;
    bench.store(&[]).await;
    let mut wanted = bench.event(&[]);
    wanted.event.uri = "shop/1/paid".parse().unwrap();
    let wanted = bench.api.store_event(wanted).await.unwrap().id;
    let answer = next(&mut answers).await;
    let event = json!({ "id": wanted.to_string(), "type": "shop/1/paid" });
    assert_eq!(answer["data"]["events"]["event"], event, "{answer}");
    let refused = listen(&bench, principal(&["sources:read"], None), query).await.next().await;
    let refused = serde_json::to_value(refused.unwrap()).unwrap();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "permission_denied");
}

#[tokio::test]
async fn a_key_of_one_subscriber_hears_of_its_own_deliveries() {
    let bench = Bench::memory();
    let mut theirs = subscription("theirs");
    theirs.subscriber = Some("org_1".into());
    bench
        .execute(vec![
            Command::PutSubscriber(Subscriber { id: "org_1".into(), name: String::new() }),
            put_subscription("ours"),
            Command::PutSubscription { spec: theirs, secrets: Vec::new() },
        ])
        .await
        .unwrap();
    let rules = bench.api.rules().borrow().clone();
    let lanes = ["ours", "theirs"].map(|name| {
        LaneId::new(rules.subscription_named(name).unwrap().number, Priority::default())
    });
    let query = "subscription { deliveries { change delivery { id state } } }";
    let tenant = principal(&["subscriptions:read"], Some("org_1"));
    let mut answers = listen(&bench, tenant, query).await;
    let sequence = bench.store(&lanes).await.sequence;
    for lane in lanes {
        assert!(bench.attempt(DeliveryId { lane, sequence }, 1, Next::Done).await);
    }
    let id = DeliveryId { lane: lanes[1], sequence };
    let wanted = json!({ "change": "attempt_recorded",
        "delivery": { "id": id.to_string(), "state": "delivered" } });
    assert_eq!(next(&mut answers).await["data"]["deliveries"], wanted);
    let stored = bench.store(&lanes).await;
    bench.api.erase(operator(), ErasureTarget::Event(stored.id)).await.unwrap();
    let id = DeliveryId { lane: lanes[1], sequence: stored.sequence };
    let wanted = json!({ "change": "delivery_abandoned",
        "delivery": { "id": id.to_string(), "state": "dead" } });
    assert_eq!(next(&mut answers).await["data"]["deliveries"], wanted);
}

#[tokio::test]
async fn a_key_that_is_revoked_hears_and_asks_no_more() {
    let bench = Bench::memory();
    let ears = Ears::new(&bench).await;
    let query = "subscription { events { event { id } } }";
    let mut answers = listen_within(&bench, ears.session(), query).await;
    let id = bench.store(&[]).await.id.to_string();
    assert_eq!(next(&mut answers).await["data"]["events"]["event"]["id"], id);
    ears.revoke(&bench).await;
    assert_eq!(code(&next(&mut answers).await), "unauthenticated");
    for query in [query, "{ stats { accepted } }"] {
        let refused = next(&mut listen_within(&bench, ears.session(), query).await).await;
        assert_eq!(code(&refused), "unauthenticated", "{query}");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_it_waits_hears_nothing_of_what_comes_then() {
    for query in [
        "subscription { events { event { id } } }",
        "subscription { deliveries { change } }",
        "subscription { stats { accepted } }",
    ] {
        let bench = Bench::memory();
        let lane = bench.subscribe("ci").await;
        let ears = Ears::new(&bench).await;
        let mut answers = listen_within(&bench, ears.session(), query).await;
        if query.contains("stats") {
            assert_eq!(next(&mut answers).await["data"]["stats"]["accepted"], 0);
        }
        ears.revoke(&bench).await;
        let sequence = bench.store(&[lane]).await.sequence;
        assert!(bench.attempt(DeliveryId { lane, sequence }, 1, Next::Done).await);
        let answer = next(&mut answers).await;
        assert_eq!(code(&answer), "unauthenticated", "{query}: {answer}");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_need_not_wait_for_something_to_happen() {
    let bench = Bench::memory();
    let ears = Ears::new(&bench).await;
    let query = "subscription { events { event { id } } }";
    let mut answers = listen_within(&bench, ears.session(), query).await;
    ears.revoke(&bench).await;
    let answer = tokio::time::timeout(LOG_WAIT_MAX / 2, next(&mut answers)).await.unwrap();
    assert_eq!(code(&answer), "unauthenticated", "{answer}");
}

#[tokio::test]
async fn what_was_read_before_a_key_was_revoked_is_not_sent_after() {
    let bench = Bench::memory();
    let ears = Ears::new(&bench).await;
    let holder = Holder::new(ears.who.clone(), ears.token.clone(), ears.caller.clone());
    let kinds = ["event_accepted"];
    let mut follower = Follower::new(bench.api.clone(), Some(holder), &kinds, Sequence(0));
    let sent = [bench.store(&[]).await.sequence, bench.store(&[]).await.sequence];
    let read: Vec<_> = follower.page().await.unwrap().iter().map(|fact| fact.sequence).collect();
    assert_eq!((read.as_slice(), follower.sending().await), (sent.as_slice(), Ok(0)));
    ears.revoke(&bench).await;
    let refused = follower.sending().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_lost() {
    let bench = Bench::memory();
    let query = "subscription { events { passedOver event { id } } }";
    let mut answers = listen(&bench, principal(&["events:read"], None), query).await;
    let first = bench.store(&[]).await.id;
    assert_eq!(next(&mut answers).await["data"]["events"]["event"]["id"], first.to_string());
    for _ in 0..=LAG_MAX {
        bench.store(&[]).await;
    }
    // It reads again only now: it is moved to the end, and is told so with what comes next.
    let reading = tokio::spawn(async move { next(&mut answers).await });
    tokio::task::yield_now().await;
    let mut ids = Vec::new();
    while !reading.is_finished() {
        ids.push(bench.store(&[]).await.id.to_string());
    }
    let answer = reading.await.unwrap();
    let live = &answer["data"]["events"];
    assert!(live["passedOver"].as_u64().unwrap() > LAG_MAX, "{answer}");
    assert!(ids.contains(&live["event"]["id"].as_str().unwrap().to_owned()), "{answer}");
}

#[tokio::test]
async fn a_connection_is_no_way_around_the_limits() {
    let bench = Bench::memory();
    let admin = || principal(&["admin"], None);
    let cyclic = "subscription { ...a } fragment a on Live { ...b } fragment b on Live { ...a }";
    for query in [cyclic, "subscription {", "{ nothing }"] {
        let answer = next(&mut listen(&bench, admin(), query).await).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "invalid_request", "{answer}");
    }
    let stats =
        next(&mut listen(&bench, admin(), "subscription { stats { accepted } }").await).await;
    assert_eq!(stats["data"]["stats"]["accepted"], 0);
}
