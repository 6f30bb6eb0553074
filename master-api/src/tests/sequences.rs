//! Whatever is done in whatever order, the rows are what the facts lead to, and a log that is
//! opened again knows all it knew.

use super::harness::{Bench, around, config, event, now, operator, put_subscription, report};
use crate::{
    MasterApi,
    project::decode,
    store::{Memory, Scan, Table},
    tables::EventIdRow,
};
use contract::{
    Result,
    command::{Command, Target},
    delivery::{Cause, DeliveryState, Next},
    event::Audience,
    id::{DeliveryId, EventId, Sequence},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, Lanes, PageRequest,
    },
    retention::{ErasureTarget, Retention},
    subscription::{Priority, SubscriptionStatus},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Option<u8>),
    Remove(u8),
    Pause(u8),
    Store { key: Option<u8>, stale: bool, quarantine: bool },
    Attempt { which: u8, number_off: bool, end: u8, gone: bool },
    Resend(u8),
    Advance(u8),
    Wait(u32),
    Retain,
    Erase { which: u8, all: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0_u8..4;
    let priority = proptest::option::of(0_u8..10);
    prop_oneof![
        3 => (name.clone(), priority).prop_map(|(name, priority)| Step::Put(name, priority)),
        1 => name.clone().prop_map(Step::Remove),
        1 => name.prop_map(Step::Pause),
        8 => (proptest::option::of(0_u8..3), prop::bool::weighted(0.1), prop::bool::weighted(0.1))
            .prop_map(|(key, stale, quarantine)| Step::Store { key, stale, quarantine }),
        8 => (any::<u8>(), prop::bool::weighted(0.1), 0_u8..4, prop::bool::weighted(0.05))
            .prop_map(|(which, number_off, end, gone)| Step::Attempt { which, number_off, end, gone }),
        2 => any::<u8>().prop_map(Step::Resend),
        1 => any::<u8>().prop_map(Step::Advance),
        2 => (0_u32..400_000).prop_map(Step::Wait),
        2 => Just(Step::Retain),
        1 => (any::<u8>(), prop::bool::weighted(0.3))
            .prop_map(|(which, all)| Step::Erase { which, all }),
    ]
}

/// Does a step. That it is refused is as good as that it is done.
async fn take(bench: &Bench, ids: &mut Vec<DeliveryId>, step: Step) -> Result<()> {
    let name = |n: u8| format!("s{n}");
    let pick =
        |ids: &[DeliveryId], which: u8| ids.get(usize::from(which) % ids.len().max(1)).copied();
    match step {
        Step::Put(n, priority) => {
            let Command::PutSubscription { mut spec, secrets } = put_subscription(&name(n)) else {
                return Ok(());
            };
            spec.priority = priority.and_then(|level| Priority::try_from(level).ok());
            bench.execute(vec![Command::PutSubscription { spec, secrets }]).await?;
        }
        Step::Remove(n) => {
            bench.execute(vec![Command::Remove(Target::Subscription(name(n)))]).await?;
        }
        Step::Pause(n) => {
            let (name, status, reason) = (name(n), SubscriptionStatus::Paused, None);
            bench.execute(vec![Command::SetSubscriptionStatus { name, status, reason }]).await?;
        }
        Step::Store { key, stale, quarantine } => {
            let rules = bench.api.rules().borrow().clone();
            let uri = "github/1/push".parse().unwrap();
            let origin = contract::event::Origin::Source("github".into());
            let lane = |s: &Arc<contract::subscription::Subscription>| {
                contract::id::LaneId::new(s.number, rules.priority(s, &uri, &origin))
            };
            let lanes: Vec<_> = rules.subscriptions.values().map(lane).collect();
            let rules = if stale { Sequence(0) } else { rules.sequence };
            let mut command = event(bench.new_id(), &lanes, rules);
            command.event.idempotency_key = key.map(|key| key.to_string());
            command.quarantine = quarantine.then(|| "odd".to_owned());
            command.event.audience = Audience::Subscriber("org_1".into());
            let stored = bench.api.store_event(command).await?;
            let made = stored.lanes.into_iter();
            ids.extend(made.map(|lane| DeliveryId { lane, sequence: stored.sequence }));
        }
        Step::Attempt { which, number_off, end, gone } => {
            let Some(id) = pick(ids, which) else { return Ok(()) };
            attempt(bench, id, (number_off, end, gone)).await?;
        }
        Step::Resend(which) => {
            if let Some(id) = pick(ids, which) {
                bench.api.resend(operator(), id).await?;
            }
        }
        Step::Advance(which) => {
            if let Some(id) = pick(ids, which) {
                bench.api.advance(vec![(id.lane, id.sequence)]).await?;
            }
        }
        Step::Retain => drop(bench.api.run_retention(false).await?),
        Step::Erase { which, all } => {
            let Some(id) = pick(ids, which) else { return Ok(()) };
            erase(bench, id, all).await?;
        }
        Step::Wait(seconds) => bench.clock.advance(Duration::from_secs(u64::from(seconds))),
    }
    Ok(())
}

async fn erase(bench: &Bench, id: DeliveryId, all: bool) -> Result<()> {
    let event = bench.api.delivery(id).await?.map(|delivery| ErasureTarget::Event(delivery.event));
    let all = all.then(|| ErasureTarget::Subscriber("org_1".into()));
    if let Some(target) = all.or(event) {
        bench.api.erase(operator(), target).await?;
    }
    Ok(())
}

async fn attempt(
    bench: &Bench,
    id: DeliveryId,
    (number_off, end, gone): (bool, u8, bool),
) -> Result<()> {
    let Some(delivery) = bench.api.delivery(id).await? else { return Ok(()) };
    let number = delivery.next_attempt() + u32::from(number_off);
    let next = match end {
        0 => Next::Done,
        1 => Next::Dead(Cause::Exhausted),
        _ => Next::Retry(now(bench).after(Duration::from_secs(u64::from(end) * 100))),
    };
    let mut report = report(id, number, next);
    report.pause_subscription = gone;
    let recorded = bench.api.record_attempts(vec![report]).await?[0];
    let expected = !number_off && delivery.state == DeliveryState::Waiting;
    // A removed subscription's deliveries may be cancelled at any time.
    assert!(recorded == expected || !recorded, "{id} {number}");
    Ok(())
}

/// What searches without a condition find, which is all that is there.
async fn found(api: &MasterApi) -> (Vec<EventId>, Vec<DeliveryId>) {
    let dropped = api.shared.state.load().dropped;
    let (mut events, mut deliveries) = (BTreeSet::new(), BTreeSet::new());
    for (key, row) in api.shared.store.scan(&Scan::all(Table::EventIds, usize::MAX)).unwrap() {
        let row: EventIdRow = decode("event id", &row).unwrap();
        if !dropped.day(row.bucket) {
            let id = EventId::from_bytes(key.as_ref().try_into().unwrap());
            events.insert(id);
            deliveries.extend(api.deliveries_of(id).await.unwrap().iter().map(|found| found.id));
        }
    }
    let (mut listed, mut after) = ((Vec::new(), Vec::new()), None);
    loop {
        let page = PageRequest { first: 5, after };
        let page = api.events(EventFilter::default(), page).await.unwrap();
        listed.0.extend(page.items.iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    loop {
        let page = PageRequest { first: 3, after };
        let page = api.deliveries(DeliveryFilter::default(), page).await.unwrap();
        listed.1.extend(page.items.iter().map(|delivery| delivery.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((listed.0.len(), listed.1.len()), (events.len(), deliveries.len()), "none twice");
    assert_eq!(listed.0.iter().copied().collect::<BTreeSet<_>>(), events);
    assert_eq!(listed.1.iter().copied().collect::<BTreeSet<_>>(), deliveries);
    listed
}

async fn run(steps: Vec<Step>) {
    let store = Arc::new(Memory::default());
    let bench = Bench::forgetful(store.clone(), 7);
    let mut ids = Vec::new();
    for step in steps {
        drop(take(&bench, &mut ids, step).await);
    }
    bench.cleared().await;
    bench.api.close().await;
    bench.assert_verified().await;
    let (state, head) = (bench.api.shared.state.load_full(), *bench.api.shared.head());
    let lanes = bench.api.lanes(contract::clock::Timestamp(i64::MAX)).await.unwrap();
    let rules = bench.api.rules().borrow().clone();
    let (block, found) = (bench.api.shared.block.load_full(), found(&bench.api).await);
    drop(bench.api);

    let again =
        MasterApi::on(store, config(bench.directory.path()), around(&bench.clock, 9)).unwrap();
    let opened = again.shared.state.load_full();
    assert_eq!((&*opened, again.shared.head().sequence), (&*state, head.sequence));
    assert_eq!(again.rules().borrow().secrets, rules.secrets);
    assert_eq!(again.shared.block.load_full(), block);
    assert_eq!(self::found(&again).await, found);
    // The floor of the retries is a lower bound before, and exact after.
    let lanes_again = again.lanes(contract::clock::Timestamp(i64::MAX)).await.unwrap();
    for lane in lanes_again {
        let before = lanes.iter().find(|before| before.lane == lane.lane).unwrap();
        // A lane whose newest deliveries went with their day ends before them.
        assert!(lane.cursor <= before.cursor && lane.head <= before.head);
        if state.dropped == crate::state::Dropped::default() {
            assert_eq!((before.cursor, before.head), (lane.cursor, lane.head));
        }
        assert!(before.next_due <= lane.next_due || lane.next_due.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn rows_are_always_what_the_facts_lead_to(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
