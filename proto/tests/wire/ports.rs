//! Each port through the wire: what is asked and what is answered arrive as they were.

use crate::{
    fake::Fake,
    listen::{listen, master_api},
    samples,
};
use contract::{
    broker::EventBroker,
    delivery::DeliveryState,
    id::{DeliveryId, EventId, LaneId, ReplayId, Sequence, SubscriptionNumber},
    master_api::{Configuration, Deliveries, Events, Fence, Lanes, Log, Page},
    past::{ConfigurationAt, Past},
    queue::MessageQueue,
    registry::SchemaRegistry,
    replay::Replays,
    retention::{Erased, ErasureTarget, PayloadState, Retention},
    schema::{Rulebook, VersionNumber},
    secret::Secret,
};
use proto::{
    client::{RemoteBroker, RemoteQueue, RemoteRegistry},
    server,
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn the_broker() {
    let fake = Fake::new();
    let listener = listen(server::broker_routes(fake.clone())).await;
    let broker = RemoteBroker::new(listener.peers());
    for event in samples::new_events() {
        assert_eq!(broker.accept(event.clone()).await.unwrap(), samples::accepted());
        assert_eq!(fake.accepted.lock().unwrap().pop(), Some(event));
    }
    for actor in samples::actors() {
        let resubmitted = broker.resubmit(actor, samples::event_id()).await.unwrap();
        assert_eq!(resubmitted, samples::accepted());
    }
    for test in samples::tests() {
        assert_eq!(broker.test_fire(test.clone()).await.unwrap(), samples::test_fired());
        assert_eq!(fake.fired.lock().unwrap().pop(), Some(test));
    }
}

#[tokio::test]
async fn the_schema_registry() {
    let fake = Fake::new();
    let listener = listen(server::registry_routes(fake.clone())).await;
    let version = Arc::new(samples::schema_version());
    fake.rules.send_modify(|rules| {
        Arc::make_mut(rules).schemas.insert(version.uri.clone(), version);
    });
    let registry = RemoteRegistry::new(listener.peers(), fake.rules.subscribe());
    registry.ping().await.unwrap();
    assert_eq!(*registry.get(&samples::uri()).await.unwrap(), samples::bundle());
    assert_eq!(
        registry.list().await.unwrap(),
        [samples::schema_version(), samples::schema_version()]
    );
    assert_eq!(registry.check(samples::schema_source()).await.unwrap(), samples::published());
    for actor in samples::actors() {
        let published = registry.publish(actor, samples::schema_source()).await.unwrap();
        assert_eq!(published, samples::published());
    }
    for set in samples::schema_sets() {
        let actor = samples::actors()[0].clone();
        let verdicts = registry.publish_all(actor, set.clone()).await.unwrap();
        assert_eq!(verdicts, samples::verdicts());
        assert_eq!(registry.check_all(set).await.unwrap(), samples::verdicts());
    }
    registry.announce("peer.example").await.unwrap();
    assert_eq!(registry.peer_marks().await.unwrap(), samples::peer_marks());
    let (uri, number) = (samples::uri(), |major, minor| VersionNumber { major, minor });
    let bundle = registry.version(&samples::uri(), number(1, 0)).await.unwrap();
    assert_eq!(*bundle, samples::bundle());
    assert_eq!(registry.versions(&samples::uri()).await.unwrap().len(), 2);
    for rulebook in Rulebook::ALL {
        let found = registry.diff(&uri, number(1, 0), number(2, 3), Some(rulebook)).await;
        assert_eq!(found.unwrap(), samples::differences());
    }
    assert_eq!(registry.diff(&uri, number(1, 0), number(2, 3), None).await.unwrap(), []);
    for actor in samples::actors() {
        registry.delete(actor, &samples::uri()).await.unwrap();
    }
}

#[tokio::test]
async fn the_queue() {
    let fake = Fake::new();
    let listener = listen(server::queue_routes(fake)).await;
    let queue = RemoteQueue::new(listener.peers());
    assert_eq!(queue.enqueue(samples::feed_items()).await.unwrap(), samples::ENQUEUED);
    let leased = queue.lease(12, Duration::from_millis(1500)).await.unwrap();
    assert_eq!(leased, [samples::lease()]);
    let pulled = queue.lease_for(SubscriptionNumber(7), 3, Duration::ZERO).await.unwrap();
    assert_eq!(pulled, [samples::lease()]);
    queue.settle(samples::settlements()).await.unwrap();
    assert_eq!(queue.extend(vec![samples::lease()]).await.unwrap(), [samples::lease()]);
    assert_eq!(queue.vacancies(Duration::ZERO).await.unwrap(), samples::vacancies());
    assert_eq!(queue.depth().await.unwrap(), samples::depths());
}

#[tokio::test]
async fn events() {
    let listener = master_api(&Fake::new()).await;
    let events = listener.master_api().await;
    let (id, unknown) = (samples::event_id(), EventId::from_bytes([0; 16]));
    assert_eq!(events.store_event(samples::store_event()).await.unwrap(), samples::stored());
    for actor in samples::actors() {
        let released = events.release_event(actor, samples::release_event()).await.unwrap();
        assert_eq!(released, samples::stored());
    }
    assert_eq!(events.event(id).await.unwrap(), Some(samples::event()));
    assert_eq!(events.event(unknown).await.unwrap(), None);
    assert_eq!(events.payload(id).await.unwrap(), Some(samples::new_event().payload));
    assert_eq!(events.payload(unknown).await.unwrap(), None);
    assert_eq!(events.payload_state(id).await.unwrap(), Some(PayloadState::Erased));
    assert_eq!(events.payload_state(unknown).await.unwrap(), None);
    let states = events.payload_states(vec![unknown, id]).await.unwrap();
    assert_eq!(states, [None, Some(PayloadState::Erased)]);
    let page = events.events(samples::event_filter(), samples::page_request()).await.unwrap();
    assert_eq!((page.items, page.next), (samples::events(), Some("next".into())));
    let deliveries = events.deliveries_of(id).await.unwrap();
    assert_eq!(deliveries, DeliveryState::ALL.map(samples::delivery));
    let found = events.events_by_id(vec![unknown, id]).await.unwrap();
    assert_eq!(found, [None, Some(samples::event())]);
    let each = events.deliveries_of_each(vec![id, id]).await.unwrap();
    assert_eq!(each, vec![deliveries; 2]);
}

#[tokio::test]
async fn deliveries() {
    let listener = master_api(&Fake::new()).await;
    let deliveries = listener.master_api().await;
    let id = samples::delivery_id();
    let unknown = DeliveryId { lane: LaneId(1), sequence: Sequence(1) };
    assert_eq!(deliveries.work(vec![id; 3]).await.unwrap(), samples::work());
    let recorded = deliveries.record_attempts(samples::reports()).await.unwrap();
    assert_eq!(recorded, [true, false, true]);
    let found = deliveries.delivery(id).await.unwrap();
    assert_eq!(found, Some(samples::delivery(DeliveryState::Dead)));
    assert_eq!(deliveries.delivery(unknown).await.unwrap(), None);
    let wanted = samples::page_request();
    let Page { items, next } = deliveries.exchanges(id, wanted.clone()).await.unwrap();
    assert_eq!((items, next.as_deref()), (samples::exchanges(), Some("2")));
    let none = deliveries.exchanges(unknown, wanted).await.unwrap();
    assert_eq!(none, Page { items: Vec::new(), next: None });
    let (filter, page) = (samples::delivery_filter(), samples::page_request());
    let page = deliveries.deliveries(filter, page).await.unwrap();
    assert_eq!(page.items, [samples::delivery(DeliveryState::Dead)]);
    assert_eq!(page.next, None);
    for actor in samples::actors() {
        let resent = deliveries.resend(actor, id).await.unwrap();
        assert_eq!(resent, samples::delivery(DeliveryState::Waiting));
    }
    assert_eq!(deliveries.stats().await.unwrap(), samples::stats());
}

#[tokio::test]
async fn replays() {
    let listener = master_api(&Fake::new()).await;
    let replays = listener.master_api().await;
    let (id, [running, cancelling, finished, _]) =
        (samples::replay_id(), <[_; 4]>::try_from(samples::replays()).unwrap());
    for spec in samples::replay_specs() {
        let preview = replays.preview_replay(spec.clone()).await.unwrap();
        assert_eq!(preview, samples::replay_progress());
        for actor in samples::actors() {
            assert_eq!(replays.start_replay(actor, spec.clone()).await.unwrap(), running);
        }
    }
    for actor in samples::actors() {
        assert_eq!(replays.cancel_replay(actor, id).await.unwrap(), cancelling);
    }
    assert_eq!(replays.replay(id).await.unwrap(), Some(finished));
    assert_eq!(replays.replay(ReplayId::from_bytes([9; 16])).await.unwrap(), None);
    assert_eq!(replays.replays().await.unwrap(), samples::replays());
}

#[tokio::test]
async fn retention() {
    let listener = master_api(&Fake::new()).await;
    let retention = listener.master_api().await;
    assert_eq!(retention.retention_plan().await.unwrap(), samples::retention_plan());
    assert_eq!(retention.run_retention(true).await.unwrap(), samples::retained());
    for actor in samples::actors() {
        let event = ErasureTarget::Event(samples::event_id());
        let erased = retention.erase(actor.clone(), event).await.unwrap();
        assert_eq!(erased, Erased { events: 1, deliveries: 2, done: true });
        let subscriber = ErasureTarget::Subscriber("org_123".into());
        let erased = retention.erase(actor, subscriber).await.unwrap();
        assert_eq!(erased, Erased { events: 3, deliveries: 4, done: false });
    }
}

#[tokio::test]
async fn lanes() {
    let listener = master_api(&Fake::new()).await;
    let lanes = listener.master_api().await;
    assert_eq!(lanes.lanes(samples::NOW).await.unwrap(), samples::lane_statuses());
    let page = lanes.feed(samples::lane(), Sequence(6), samples::NOW, 128).await.unwrap();
    assert_eq!(page, samples::feed_page());
    assert_eq!(lanes.lead("one").await.unwrap(), Some(Fence(7)));
    assert_eq!(lanes.lead("two").await.unwrap(), None);
    lanes.step_down("one").await.unwrap();
    lanes.advance(Fence(7), vec![(samples::lane(), Sequence(6))]).await.unwrap();
}

#[tokio::test]
async fn the_log() {
    let listener = master_api(&Fake::new()).await;
    let log = listener.master_api().await;
    assert_eq!(log.facts(samples::log_query()).await.unwrap(), samples::log_page());
    assert_eq!(log.log_head().await.unwrap(), samples::log_head());
    assert_eq!(log.cursor("announcer").await.unwrap(), Some(Sequence(6)));
    assert_eq!(log.cursor("nobody").await.unwrap(), None);
    log.move_cursor("announcer", Sequence(7)).await.unwrap();
}

#[tokio::test]
async fn the_history_of_a_schema() {
    let listener = master_api(&Fake::new()).await;
    let versions = listener.master_api().await.schema_versions(&samples::uri()).await.unwrap();
    assert_eq!(versions, vec![samples::schema_version(); 3]);
}

#[tokio::test]
async fn sessions_and_the_key_that_seals() {
    let fake = Fake::new();
    let api = master_api(&fake).await.master_api().await;
    let from = "2001:db8::1".parse().ok();
    let session = api.log_in("ada".into(), Secret::new("correct horse"), from).await.unwrap();
    assert_eq!(session, samples::session());
    assert_eq!(api.renew_session(session.token).await.unwrap(), samples::session());
    api.note_key_uses(samples::key_uses()).await.unwrap();
    assert_eq!(api.key_uses().await.unwrap(), samples::key_uses());
    api.rotate_secret_key().await.unwrap();
    assert_eq!(fake.rotated.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_past() {
    let past = master_api(&Fake::new()).await.master_api().await;
    assert_eq!(past.why(samples::event_id(), "ci").await.unwrap(), samples::why());
    let then = past.state_at(Some(samples::NOW)).await.unwrap();
    assert_eq!(then, samples::configuration_at());
    assert_eq!(past.state_at(None).await.unwrap(), ConfigurationAt::default());
    for subject in samples::subjects() {
        assert_eq!(past.history(&subject).await.unwrap(), samples::history());
    }
}
