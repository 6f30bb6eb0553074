//! What the port [`crate::master_api::Log`] must do, as cases that any implementation runs, directly or over the wire:
//! `contract::log_conformance!(harness().await);` in a test file makes one test a case.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{ManualClock, subscription_spec};
use crate::{
    ErrorCode,
    access::Actor,
    clock::{Clock, Timestamp},
    command::{Changeset, Command},
    delivery::{Attempt, AttemptReport, Cause, Next},
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{DeliveryId, EventId, LaneId, SecretId, Sequence},
    limits::LOG_KINDS_MAX,
    log::{Chain, LogFilter, LogPage, LogQuery, LoggedFact},
    master_api::{MasterApi, StoreEvent},
    stamp::Stamp,
    subscription::{Priority, Subscriber},
};
use bytes::Bytes;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a case needs: a Master API whose log nobody else writes to.
pub trait Harness: Send + Sync {
    /// The ports.
    fn master_api(&self) -> Arc<dyn MasterApi>;
    /// The clock that it runs on.
    fn clock(&self) -> Arc<ManualClock>;
}

/// Makes one `#[tokio::test]` of each case, on the harness that the expression makes anew. The
/// expression may await.
#[macro_export]
macro_rules! log_conformance {
    ($harness:expr) => {
        $crate::log_conformance! { @cases $harness;
            facts_come_in_order
            a_filter_leaves_out_the_rest
            a_moment_is_found
            what_is_notable_is_found
            who_waits_is_told
            who_waits_for_the_notable_sleeps_through_the_rest
            the_head_is_where_the_log_ends
            cursors_are_kept
            too_much_is_refused
        }
    };
    (@cases $harness:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let harness = $harness;
                $crate::testing::log_conformance::$case(&harness).await;
            }
        )*
    };
}

/// Long enough for what must come; only a failing case waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pages of any length hold the same facts, in order, without a hole.
pub async fn facts_come_in_order(harness: &dyn Harness) {
    let case = Case(harness);
    case.subscribe().await;
    for _ in 0..3 {
        case.put_subscriber().await;
        case.store(&[]).await;
    }
    let head = case.head().await;
    let whole = case.all(LogFilter::default(), 500).await;
    let sequences: Vec<_> = whole.iter().map(|fact| fact.sequence.0).collect();
    assert_eq!(sequences, (1..=head.0).collect::<Vec<_>>());
    assert!(whole.windows(2).all(|pair| pair[0].time <= pair[1].time));
    assert_eq!(case.all(LogFilter::default(), 1).await, whole);
    assert_eq!(case.all(LogFilter::default(), 3).await, whole);
    let last = whole.last().expect("facts");
    assert_eq!((last.chain, last.kind.as_str()), (Chain::Traffic, "event_accepted"));
    assert_eq!(last.body["event"]["uri"], "github/1/push");
    let first = whole.first().expect("facts");
    assert_eq!(first.prev_hash, "0".repeat(64));
    assert_ne!(last.prev_hash, first.prev_hash);
    let text = serde_json::to_string(&whole).expect("json");
    assert!(!text.contains("of the payload"), "no payload is in a fact");
}

/// Chain and kinds.
pub async fn a_filter_leaves_out_the_rest(harness: &dyn Harness) {
    let case = Case(harness);
    case.put_subscriber().await;
    case.store(&[]).await;
    case.put_subscriber().await;
    let traffic = LogFilter { chain: Some(Chain::Traffic), ..LogFilter::default() };
    let traffic = case.all(traffic, 0).await;
    assert_eq!(traffic.len(), 1);
    let kinds = vec!["subscriber_put".to_owned(), "subscriber_removed".to_owned()];
    let subscribers = case.all(LogFilter { kinds: kinds.clone(), ..LogFilter::default() }, 0).await;
    assert_eq!(subscribers.len(), 2);
    assert!(subscribers.iter().all(|fact| fact.chain == Chain::Configuration));
    let neither = LogFilter { kinds, chain: Some(Chain::Traffic), ..LogFilter::default() };
    assert_eq!(case.all(neither, 0).await, []);
    let unheard_of = LogFilter { kinds: vec!["unheard_of".to_owned()], ..LogFilter::default() };
    let query = LogQuery { filter: unheard_of, ..LogQuery::default() };
    let refused = harness.master_api().facts(query).await.expect_err("there is no such kind");
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
}

/// `since` begins with the first fact of the moment.
pub async fn a_moment_is_found(harness: &dyn Harness) {
    let case = Case(harness);
    let mut moments = Vec::new();
    for _ in 0..4 {
        harness.clock().advance(Duration::from_secs(90));
        moments.push((harness.clock().now(), Sequence(case.head().await.0 + 1)));
        case.store(&[]).await;
        case.put_subscriber().await;
    }
    for (since, first) in moments {
        let after = |since| LogFilter { since: Some(since), ..LogFilter::default() };
        let found = case.all(after(since), 2).await;
        assert_eq!(found.first().map(|fact| fact.sequence), Some(first));
        let found = case.all(after(since.before(Duration::from_secs(80))), 2).await;
        assert_eq!(found.first().map(|fact| fact.sequence), Some(first));
    }
    let later = harness.clock().now().after(Duration::from_secs(1));
    assert_eq!(case.all(LogFilter { since: Some(later), ..LogFilter::default() }, 0).await, []);
}

/// The configuration and dead letters, and no other traffic.
pub async fn what_is_notable_is_found(harness: &dyn Harness) {
    let case = Case(harness);
    let lane = case.subscribe().await;
    let before = case.head().await;
    let (first, second) = (case.store(&[lane]).await, case.store(&[lane]).await);
    case.attempt(first, Next::Done).await;
    case.attempt(second, Next::Dead(Cause::Exhausted)).await;
    case.put_subscriber().await;
    let notable = LogFilter { notable: true, ..LogFilter::default() };
    for filter in [notable.clone(), LogFilter { chain: Some(Chain::Traffic), ..notable }] {
        let only_traffic = filter.chain.is_some();
        let found = case.page(before, filter, Duration::ZERO).await.facts;
        let kinds: Vec<_> = found.iter().map(|fact| fact.kind.as_str()).collect();
        let wanted = ["attempt_recorded", "subscriber_put"];
        assert_eq!(kinds, if only_traffic { &wanted[..1] } else { &wanted[..] });
        let dead = found.first().expect("found");
        assert_eq!(dead.body["delivery"], second.to_string());
        assert_eq!(dead.body["next"]["dead"], "exhausted");
    }
}

/// A fact that comes while somebody waits for it is told at once; else the wait has its end.
pub async fn who_waits_is_told(harness: &dyn Harness) {
    let case = Case(harness);
    case.put_subscriber().await;
    let head = case.head().await;
    let nothing = case.page(head, LogFilter::default(), Duration::from_millis(50)).await;
    assert_eq!((nothing.facts.len(), nothing.read_to, nothing.more), (0, head, false));
    let wait = case.page(head, LogFilter::default(), PATIENCE);
    let ((), told) = tokio::join!(case.put_subscriber(), wait);
    assert_eq!(told.facts.len(), 1);
    assert_eq!(told.read_to, told.facts[0].sequence);
}

/// What nobody need know does not answer who waits for what is notable.
pub async fn who_waits_for_the_notable_sleeps_through_the_rest(harness: &dyn Harness) {
    let case = Case(harness);
    case.put_subscriber().await;
    let head = case.head().await;
    let wait = case.page(head, LogFilter { notable: true, ..LogFilter::default() }, PATIENCE);
    let happen = async {
        case.store(&[]).await;
        case.put_subscriber().await;
    };
    let ((), told) = tokio::join!(happen, wait);
    let kinds: Vec<_> = told.facts.iter().map(|fact| fact.kind.as_str()).collect();
    assert_eq!(kinds, ["subscriber_put"]);
    assert_eq!(told.facts[0].sequence.0, head.0 + 2);
}

/// Sequence, time and both hashes; the hash is what the next fact builds on.
pub async fn the_head_is_where_the_log_ends(harness: &dyn Harness) {
    let case = Case(harness);
    case.put_subscriber().await;
    case.store(&[]).await;
    let head = harness.master_api().log_head().await.expect("head");
    assert_eq!(head.sequence, case.head().await);
    assert_eq!(head.time, harness.clock().now());
    case.put_subscriber().await;
    case.store(&[]).await;
    let next = case.page(head.sequence, LogFilter::default(), Duration::ZERO).await.facts;
    let hashes: Vec<_> = next.iter().map(|fact| (fact.chain, fact.prev_hash.clone())).collect();
    let wanted =
        [(Chain::Configuration, head.configuration_hash), (Chain::Traffic, head.traffic_hash)];
    assert_eq!(hashes, wanted);
}

/// Each follower has a cursor of its own, and it moves forward only.
pub async fn cursors_are_kept(harness: &dyn Harness) {
    let log = harness.master_api();
    assert_eq!(log.cursor("a").await.expect("cursor"), None);
    for to in [3, 7, 5] {
        log.move_cursor("a", Sequence(to)).await.expect("moved");
    }
    log.move_cursor("b", Sequence(1)).await.expect("moved");
    assert_eq!(log.cursor("a").await.expect("cursor"), Some(Sequence(7)));
    assert_eq!(log.cursor("b").await.expect("cursor"), Some(Sequence(1)));
}

/// Bounds hold.
pub async fn too_much_is_refused(harness: &dyn Harness) {
    let log = harness.master_api();
    let filter = LogFilter { kinds: vec!["k".to_owned(); LOG_KINDS_MAX + 1], ..Default::default() };
    assert!(log.facts(LogQuery { filter, ..LogQuery::default() }).await.is_err());
    assert!(log.move_cursor("", Sequence(1)).await.is_err());
    assert!(log.move_cursor(&"f".repeat(1000), Sequence(1)).await.is_err());
}

/// A harness in the words of the cases.
struct Case<'a>(&'a dyn Harness);

impl Case<'_> {
    fn now(&self) -> Timestamp {
        self.0.clock().now()
    }

    async fn head(&self) -> Sequence {
        self.0.master_api().log_head().await.expect("head").sequence
    }

    async fn page(&self, after: Sequence, filter: LogFilter, wait: Duration) -> LogPage {
        let query = LogQuery { after, filter, wait, first: 0 };
        self.0.master_api().facts(query).await.expect("facts")
    }

    /// All facts that are wanted, read in pages of `first`.
    async fn all(&self, filter: LogFilter, first: u32) -> Vec<LoggedFact> {
        let (mut facts, mut after) = (Vec::new(), Sequence(0));
        loop {
            let (filter, wait) = (filter.clone(), Duration::ZERO);
            let query = LogQuery { after, first, filter, wait };
            let page = self.0.master_api().facts(query).await.expect("facts");
            facts.extend(page.facts);
            if !page.more {
                assert_eq!(page.read_to, page.head);
                return facts;
            }
            assert!(page.read_to > after, "a page moves on");
            after = page.read_to;
        }
    }

    async fn execute(&self, command: Command) {
        let changes = Changeset { commands: vec![command], ..Changeset::default() };
        let actor = Actor::Component("test".to_owned());
        self.0.master_api().execute(actor, changes).await.expect("execute");
    }

    /// One fact of the configuration.
    async fn put_subscriber(&self) {
        let (id, name) = (format!("org_{}", self.head().await), String::new());
        self.execute(Command::PutSubscriber(Subscriber { id, name })).await;
    }

    /// A subscription's lane.
    async fn subscribe(&self) -> LaneId {
        let spec = subscription_spec("ci");
        self.execute(Command::PutSubscription { spec, secrets: Vec::new() }).await;
        let rules = self.0.master_api().rules().borrow().clone();
        let number = rules.subscription_named("ci").expect("subscription").number;
        LaneId::new(number, Priority::default())
    }

    /// One fact of the traffic: an event with at most one delivery.
    async fn store(&self, lanes: &[LaneId]) -> DeliveryId {
        let master_api = self.0.master_api();
        let rules = master_api.rules().borrow().sequence;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&(self.head().await.0 + 1).to_be_bytes());
        let event = NewEvent {
            uri: "github/1/push".parse().expect("uri"),
            direction: Direction::Incoming,
            audience: Audience::Own,
            origin: Origin::Server,
            payload: Bytes::from_static(b"{\"bytes\": \"of the payload\"}"),
            content_type: "application/json".to_owned(),
            headers: Headers::default(),
            idempotency_key: None,
            received_at: self.now(),
            trace: Trace::default(),
            unvalidated: Disposition::Reject,
            invalid: Disposition::Reject,
            rules,
        };
        let stamp = Stamp { key: SecretId::from_bytes([1; 16]), mac: [2; 32] };
        let (id, lanes) = (EventId::from_bytes(id), lanes.to_vec());
        let lane = lanes.first().copied().unwrap_or_default();
        let (schema_minor, quarantine, keys) = (None, None, BTreeMap::new());
        let store = StoreEvent { id, event, stamp, schema_minor, quarantine, lanes, keys, rules };
        let sequence = master_api.store_event(store).await.expect("stored").sequence;
        DeliveryId { lane, sequence }
    }

    async fn attempt(&self, delivery: DeliveryId, next: Next) {
        let attempt = Attempt {
            number: 1,
            started_at: self.now(),
            duration_ms: 12,
            status: None,
            cause: (next != Next::Done).then_some(Cause::Timeout),
            error: None,
            address: None,
            response_excerpt: None,
            backoff_rule: None,
        };
        let report =
            AttemptReport { delivery, attempt, exchange: None, next, pause_subscription: false };
        let recorded = self.0.master_api().record_attempts(vec![report]).await.expect("recorded");
        assert_eq!(recorded, [true]);
    }
}
