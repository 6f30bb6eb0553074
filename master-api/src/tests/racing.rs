//! Changesets that meet: what they expect, and on whose behalf they act, is checked where it is
//! decided.

use super::harness::{Bench, operator, put_subscription, subscription};
use contract::{
    ErrorCode, Result,
    command::{Change, Changeset, Command, Mode, Target},
    master_api::Configuration,
    subscription::{Subscriber, SubscriptionStatus},
};
use std::sync::Arc;

const TENANTS: [&str; 2] = ["org_1", "org_2"];

async fn bench() -> Bench {
    let bench = Bench::memory();
    let put = |id: &str| Command::PutSubscriber(Subscriber { id: id.into(), name: String::new() });
    bench.execute(TENANTS.map(put).to_vec()).await.unwrap();
    bench
}

fn put(name: &str, subscriber: &str) -> Command {
    let spec = contract::subscription::SubscriptionSpec {
        subscriber: Some(subscriber.into()),
        ..subscription(name)
    };
    Command::PutSubscription { spec, secrets: Vec::new() }
}

fn acting(subscriber: &str, mode: Mode, command: Command) -> Changeset {
    let acting_for = Some(subscriber.to_owned());
    Changeset { commands: vec![command], mode, acting_for, ..Changeset::default() }
}

fn code(result: Result<Vec<Change>>) -> ErrorCode {
    result.unwrap_err().code
}

#[tokio::test]
async fn of_many_creates_at_once_exactly_one_succeeds() {
    for mode in [Mode::Create, Mode::Put] {
        let bench = bench().await;
        let creates = (0..32).map(|n| {
            let (api, tenant) = (Arc::clone(&bench.api), TENANTS[n % 2]);
            let changes = acting(tenant, mode, put("ci", tenant));
            tokio::spawn(async move { (tenant, api.execute(operator(), changes).await) })
        });
        let creates: Vec<_> = creates.collect();
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for create in creates {
            let (tenant, result) = create.await.unwrap();
            match result {
                Ok(_) => won.push(tenant),
                Err(error) => lost.push((tenant, error.code)),
            }
        }
        let owner = won[0];
        let rules = bench.api.rules().borrow().clone();
        let held = rules.subscription_named("ci").unwrap();
        assert_eq!(held.spec.subscriber.as_deref(), Some(owner));
        assert!(lost.iter().all(|(_, code)| *code == ErrorCode::Conflict), "{lost:?}");
        match mode {
            Mode::Create => assert_eq!((won.len(), lost.len()), (1, 31)),
            _ => assert!(won.iter().all(|tenant| *tenant == owner), "{won:?}"),
        }
        bench.assert_verified().await;
    }
}

#[tokio::test]
async fn whoever_acts_for_a_subscriber_touches_nothing_else() {
    let bench = bench().await;
    bench.execute(vec![put("theirs", "org_2"), put_subscription("ours")]).await.unwrap();
    let head = bench.rules();
    let (name, reason) = ("theirs".to_owned(), None);
    let pause = Command::SetSubscriptionStatus { name, status: SubscriptionStatus::Paused, reason };
    let remove = |name: &str| Command::Remove(Target::Subscription(name.into()));
    let org_3 = Command::PutSubscriber(Subscriber { id: "org_3".into(), name: String::new() });
    let table = [
        (Mode::Put, put("theirs", "org_1"), ErrorCode::Conflict),
        (Mode::Update, put("theirs", "org_1"), ErrorCode::NotFound),
        (Mode::Put, put("ours", "org_1"), ErrorCode::Conflict),
        (Mode::Put, put("new", "org_2"), ErrorCode::PermissionDenied),
        (Mode::Put, put_subscription("new"), ErrorCode::PermissionDenied),
        (Mode::Put, pause, ErrorCode::NotFound),
        (Mode::Put, remove("theirs"), ErrorCode::NotFound),
        (Mode::Put, remove("ours"), ErrorCode::NotFound),
        (Mode::Put, remove("nowhere"), ErrorCode::NotFound),
        (Mode::Put, org_3, ErrorCode::PermissionDenied),
    ];
    for (mode, command, expected) in table {
        let shown = format!("{mode:?} {command:?}");
        let refused = bench.api.execute(operator(), acting("org_1", mode, command)).await;
        assert_eq!(code(refused), expected, "{shown}");
    }
    let prune = Changeset { prune: true, acting_for: Some("org_1".into()), ..Changeset::default() };
    assert_eq!(code(bench.api.execute(operator(), prune).await), ErrorCode::PermissionDenied);
    assert_eq!(bench.rules(), head);
    let own = acting("org_1", Mode::Put, put("mine", "org_1"));
    assert!(bench.api.execute(operator(), own).await.is_ok());
}

#[tokio::test]
async fn a_put_finds_what_it_expects() {
    let bench = bench().await;
    let ask = async |mode, command| {
        let changes = Changeset { commands: vec![command], mode, ..Changeset::default() };
        bench.api.execute(operator(), changes).await
    };
    let org_3 = Command::PutSubscriber(Subscriber { id: "org_3".into(), name: String::new() });
    for command in [put_subscription("ci"), org_3] {
        assert_eq!(code(ask(Mode::Update, command.clone()).await), ErrorCode::NotFound);
        assert!(ask(Mode::Create, command.clone()).await.is_ok());
        assert_eq!(code(ask(Mode::Create, command.clone()).await), ErrorCode::Conflict);
        assert!(ask(Mode::Update, command).await.is_ok());
    }
}
