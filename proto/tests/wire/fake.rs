//! All ports in one: it demands the samples, and answers with samples.

use crate::samples;
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::{Actor, Session},
    broker::{EventBroker, TestFire, TestFired},
    clock::Timestamp,
    command::{Change, Changeset},
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::{Accepted, Event, NewEvent},
    exchange::Exchange,
    id::{DeliveryId, EventId, KeyId, LaneId, ReplayId, Sequence, SubscriptionNumber},
    log::{LogHead, LogPage, LogQuery},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, FeedItem, FeedPage, Fence,
        LaneStatus, Lanes, Log, Page, PageRequest, ReleaseEvent, Stats, StoreEvent, Stored, Work,
    },
    past::{ConfigurationAt, HistoryEntry, Past, Subject, Why},
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
    registry::SchemaRegistry,
    replay::{Replay, ReplayProgress, ReplaySpec, Replays},
    retention::{Erased, ErasureTarget, PayloadState, Retained, Retention, RetentionPlan},
    rules::{Rules, RulesReceiver},
    schema::{
        Difference, Rulebook, SchemaBundle, SchemaSet, SchemaVerdict, SchemaVersion, VersionNumber,
    },
    secret::Secret,
    uri::EventUri,
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// What is asked for where no page is.
const ALL: PageRequest = PageRequest { first: 500, after: None };

pub struct Fake {
    pub rules: watch::Sender<Arc<Rules>>,
    /// What the broker was given.
    pub accepted: Mutex<Vec<NewEvent>>,
    /// What was tried.
    pub fired: Mutex<Vec<TestFire>>,
    /// What was executed, and by whom.
    pub executed: Mutex<Vec<(Actor, Changeset)>>,
    /// How often secrets were sealed anew.
    pub rotated: AtomicU32,
    /// Calls so far.
    pub calls: AtomicU32,
    /// So many calls are refused as `unavailable` first.
    pub refusals: AtomicU32,
    /// The answer of every call, if set.
    pub error: Mutex<Option<Error>>,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            rules: watch::Sender::new(Arc::new(samples::rules(1))),
            accepted: Mutex::default(),
            fired: Mutex::default(),
            executed: Mutex::default(),
            rotated: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            error: Mutex::default(),
        })
    }

    fn ready(&self) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let one_less = |left: u32| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(Error::new(ErrorCode::Unavailable, "not yet"));
        }
        self.error.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl EventBroker for Fake {
    async fn accept(&self, event: NewEvent) -> Result<Accepted> {
        self.ready()?;
        self.accepted.lock().unwrap().push(event);
        Ok(samples::accepted())
    }

    async fn resubmit(&self, actor: Actor, id: EventId) -> Result<Accepted> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert_eq!(id, samples::event_id());
        Ok(samples::accepted())
    }

    async fn test_fire(&self, test: TestFire) -> Result<TestFired> {
        self.ready()?;
        self.fired.lock().unwrap().push(test);
        Ok(samples::test_fired())
    }
}

#[async_trait]
impl SchemaRegistry for Fake {
    async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        self.ready()?;
        assert_eq!(*uri, samples::uri());
        Ok(Arc::new(samples::bundle()))
    }

    async fn list(&self) -> Result<Vec<SchemaVersion>> {
        self.ready()?;
        Ok(vec![samples::schema_version(); 2])
    }

    async fn publish_all(&self, actor: Actor, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        self.check_all(set).await
    }

    async fn check_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        self.ready()?;
        match set {
            SchemaSet::Sources(sources) if sources.len() == 1 => {
                assert_eq!(sources, [samples::schema_source()]);
                Ok(vec![samples::verdicts().remove(0)])
            }
            set => {
                assert!(samples::schema_sets().contains(&set), "{set:?}");
                Ok(samples::verdicts())
            }
        }
    }

    async fn announce(&self, domain: &str) -> Result<()> {
        assert_eq!(domain, "peer.example");
        self.ready()
    }

    async fn peer_marks(&self) -> Result<BTreeMap<String, String>> {
        self.ready()?;
        Ok(samples::peer_marks())
    }

    async fn ping(&self) -> Result<()> {
        self.ready()
    }

    async fn version(&self, uri: &EventUri, number: VersionNumber) -> Result<Arc<SchemaBundle>> {
        self.ready()?;
        assert_eq!((uri, number), (&samples::uri(), VersionNumber { major: 1, minor: 0 }));
        Ok(Arc::new(samples::bundle()))
    }

    async fn versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        self.ready()?;
        assert_eq!(*uri, samples::uri());
        Ok(vec![samples::schema_version(); 2])
    }

    async fn diff(
        &self,
        uri: &EventUri,
        from: VersionNumber,
        to: VersionNumber,
        rulebook: Option<Rulebook>,
    ) -> Result<Vec<Difference>> {
        self.ready()?;
        assert_eq!(*uri, samples::uri());
        let number = |major, minor| VersionNumber { major, minor };
        assert_eq!((from, to), (number(1, 0), number(2, 3)));
        Ok(if rulebook.is_some() { samples::differences() } else { Vec::new() })
    }

    async fn delete(&self, actor: Actor, uri: &EventUri) -> Result<()> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert_eq!(*uri, samples::uri());
        self.rules.send_modify(|rules| _ = Arc::make_mut(rules).schemas.remove(uri));
        Ok(())
    }
}

#[async_trait]
impl Events for Fake {
    async fn store_event(&self, event: StoreEvent) -> Result<Stored> {
        self.ready()?;
        assert_eq!(event, samples::store_event());
        Ok(samples::stored())
    }

    async fn release_event(&self, actor: Actor, release: ReleaseEvent) -> Result<Stored> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert_eq!(release, samples::release_event());
        Ok(samples::stored())
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>> {
        self.ready()?;
        Ok((id == samples::event_id()).then(samples::event))
    }

    async fn payload(&self, id: EventId) -> Result<Option<Bytes>> {
        self.ready()?;
        Ok((id == samples::event_id()).then(|| samples::new_event().payload))
    }

    async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>> {
        self.ready()?;
        Ok((id == samples::event_id()).then_some(PayloadState::Erased))
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        self.ready()?;
        assert_eq!((filter, page), (samples::event_filter(), samples::page_request()));
        Ok(Page { items: samples::events(), next: Some("next".into()) })
    }

    async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        self.ready()?;
        assert_eq!(id, samples::event_id());
        Ok(DeliveryState::ALL.map(samples::delivery).to_vec())
    }
}

#[async_trait]
impl Deliveries for Fake {
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        self.ready()?;
        assert_eq!(deliveries, [samples::delivery_id(); 3]);
        Ok(samples::work())
    }

    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        self.ready()?;
        assert_eq!(reports, samples::reports());
        Ok(vec![true, false, true])
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        self.ready()?;
        Ok((id == samples::delivery_id()).then(|| samples::delivery(DeliveryState::Dead)))
    }

    async fn exchanges(&self, id: DeliveryId, page: PageRequest) -> Result<Page<Exchange>> {
        self.ready()?;
        if id != samples::delivery_id() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        assert!([samples::page_request(), ALL].contains(&page), "{page:?}");
        Ok(Page { items: samples::exchanges(), next: Some("2".into()) })
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        self.ready()?;
        // What is asked with the key of a subscriber is narrowed to it.
        let own = Some("org_123".to_owned());
        if filter == (DeliveryFilter { subscriber: own, ..DeliveryFilter::default() }) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        assert_eq!((filter, page), (samples::delivery_filter(), samples::page_request()));
        Ok(Page { items: vec![samples::delivery(DeliveryState::Dead)], next: None })
    }

    async fn resend(&self, actor: Actor, id: DeliveryId) -> Result<Delivery> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert_eq!(id, samples::delivery_id());
        Ok(samples::delivery(DeliveryState::Waiting))
    }

    async fn stats(&self) -> Result<Stats> {
        self.ready()?;
        Ok(samples::stats())
    }
}

#[async_trait]
impl Replays for Fake {
    async fn preview_replay(&self, spec: ReplaySpec) -> Result<ReplayProgress> {
        self.ready()?;
        assert!(samples::replay_specs().contains(&spec));
        Ok(samples::replay_progress())
    }

    async fn start_replay(&self, actor: Actor, spec: ReplaySpec) -> Result<Replay> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert!(samples::replay_specs().contains(&spec));
        Ok(samples::replays().remove(0))
    }

    async fn cancel_replay(&self, actor: Actor, id: ReplayId) -> Result<Replay> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        assert_eq!(id, samples::replay_id());
        Ok(samples::replays().remove(1))
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        self.ready()?;
        Ok((id == samples::replay_id()).then(|| samples::replays().remove(2)))
    }

    async fn replays(&self) -> Result<Vec<Replay>> {
        self.ready()?;
        Ok(samples::replays())
    }
}

#[async_trait]
impl Retention for Fake {
    async fn retention_plan(&self) -> Result<RetentionPlan> {
        self.ready()?;
        Ok(samples::retention_plan())
    }

    async fn run_retention(&self, compact: bool) -> Result<Retained> {
        self.ready()?;
        assert!(compact);
        Ok(samples::retained())
    }

    async fn erase(&self, actor: Actor, target: ErasureTarget) -> Result<Erased> {
        self.ready()?;
        assert!(samples::actors().contains(&actor), "{actor}");
        Ok(match target {
            ErasureTarget::Event(id) => {
                assert_eq!(id, samples::event_id());
                Erased { events: 1, deliveries: 2, done: true }
            }
            ErasureTarget::Subscriber(id) => {
                assert_eq!(id, "org_123");
                Erased { events: 3, deliveries: 4, done: false }
            }
        })
    }
}

#[async_trait]
impl Lanes for Fake {
    async fn lead(&self, feeder: &str) -> Result<Option<Fence>> {
        self.ready()?;
        Ok((feeder == "one").then_some(Fence(7)))
    }

    async fn step_down(&self, feeder: &str) -> Result<()> {
        self.ready()?;
        assert_eq!(feeder, "one");
        Ok(())
    }

    async fn lanes(&self, until: Timestamp) -> Result<Vec<LaneStatus>> {
        self.ready()?;
        assert_eq!(until, samples::NOW);
        Ok(samples::lane_statuses())
    }

    async fn feed(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage> {
        self.ready()?;
        assert_eq!((lane, after), (samples::lane(), Sequence(6)));
        assert_eq!((until, limit), (samples::NOW, 128));
        Ok(samples::feed_page())
    }

    async fn advance(&self, fence: Fence, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        self.ready()?;
        assert_eq!(fence, Fence(7));
        assert_eq!(cursors, [(samples::lane(), Sequence(6))]);
        Ok(())
    }
}

#[async_trait]
impl Configuration for Fake {
    fn rules(&self) -> RulesReceiver {
        self.rules.subscribe()
    }

    async fn execute(&self, actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        self.ready()?;
        self.executed.lock().unwrap().push((actor, changes));
        let next = self.rules.borrow().sequence.0 + 1;
        self.rules.send_replace(Arc::new(samples::rules(next)));
        Ok(samples::changes())
    }

    async fn log_in(
        &self,
        name: String,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Session> {
        self.ready()?;
        assert_eq!(from, "2001:db8::1".parse().ok());
        assert_eq!((name.as_str(), password.expose()), ("ada", "correct horse"));
        Ok(samples::session())
    }

    async fn renew_session(&self, token: Secret) -> Result<Session> {
        self.ready()?;
        assert_eq!(token, samples::session().token);
        Ok(samples::session())
    }

    async fn note_key_uses(&self, uses: BTreeMap<KeyId, Timestamp>) -> Result<()> {
        self.ready()?;
        assert_eq!(uses, samples::key_uses());
        Ok(())
    }

    async fn key_uses(&self) -> Result<BTreeMap<KeyId, Timestamp>> {
        self.ready()?;
        Ok(samples::key_uses())
    }

    async fn rotate_secret_key(&self) -> Result<()> {
        self.ready()?;
        self.rotated.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        self.ready()?;
        assert_eq!(*uri, samples::uri());
        Ok(vec![samples::schema_version(); 3])
    }
}

#[async_trait]
impl Log for Fake {
    async fn facts(&self, query: LogQuery) -> Result<LogPage> {
        self.ready()?;
        assert_eq!(query, samples::log_query());
        Ok(samples::log_page())
    }

    async fn log_head(&self) -> Result<LogHead> {
        self.ready()?;
        Ok(samples::log_head())
    }

    async fn cursor(&self, follower: &str) -> Result<Option<Sequence>> {
        self.ready()?;
        Ok((follower == "announcer").then_some(Sequence(6)))
    }

    async fn move_cursor(&self, follower: &str, to: Sequence) -> Result<()> {
        self.ready()?;
        assert_eq!((follower, to), ("announcer", Sequence(7)));
        Ok(())
    }
}

#[async_trait]
impl Past for Fake {
    async fn why(&self, event: EventId, subscription: &str) -> Result<Why> {
        self.ready()?;
        assert_eq!((event, subscription), (samples::event_id(), "ci"));
        Ok(samples::why())
    }

    async fn state_at(&self, time: Option<Timestamp>) -> Result<ConfigurationAt> {
        self.ready()?;
        assert!(time.is_none_or(|time| time == samples::NOW));
        Ok(time.map(|_| samples::configuration_at()).unwrap_or_default())
    }

    async fn history(&self, subject: &Subject) -> Result<Vec<HistoryEntry>> {
        self.ready()?;
        assert!(samples::subjects().contains(subject), "{subject:?}");
        Ok(samples::history())
    }
}

#[async_trait]
impl MessageQueue for Fake {
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        self.ready()?;
        assert_eq!(items, samples::feed_items());
        Ok(samples::ENQUEUED.to_vec())
    }

    /// One of 13 never comes.
    async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Lease>> {
        self.ready()?;
        if max == 13 {
            std::future::pending::<()>().await;
        }
        assert_eq!((max, wait), (12, Duration::from_millis(1500)));
        Ok(vec![samples::lease()])
    }

    async fn lease_for(
        &self,
        subscription: SubscriptionNumber,
        max: u32,
        wait: Duration,
    ) -> Result<Vec<Lease>> {
        self.ready()?;
        assert_eq!((subscription, max, wait), (SubscriptionNumber(7), 3, Duration::ZERO));
        Ok(vec![samples::lease()])
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<()> {
        self.ready()?;
        assert_eq!(settlements, samples::settlements());
        Ok(())
    }

    async fn extend(&self, leases: Vec<Lease>) -> Result<Vec<Lease>> {
        self.ready()?;
        assert_eq!(leases, [samples::lease()]);
        Ok(leases)
    }

    async fn vacancies(&self, wait: Duration) -> Result<Vec<Vacancy>> {
        self.ready()?;
        assert_eq!(wait, Duration::ZERO);
        Ok(samples::vacancies())
    }

    async fn depth(&self) -> Result<Vec<LaneDepth>> {
        self.ready()?;
        Ok(samples::depths())
    }
}
