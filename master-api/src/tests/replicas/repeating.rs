//! A change that is sent again to another replica.

use super::{Replica, Schema, assert_one_log, operator, put_subscription, replica};
use contract::{
    ErrorCode, Result,
    access::Roles,
    command::{Change, ChangeKind, Changeset, Command},
    master_api::Configuration,
};
use std::sync::Arc;

impl Replica {
    async fn once(&self, key: &str, command: Command) -> Result<Vec<Change>> {
        let idempotency_key = Some(key.to_owned());
        let changes =
            Changeset { commands: vec![command], idempotency_key, ..Changeset::default() };
        self.api.execute(operator(), changes).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_carried_out_another_only_answers() {
    let schema = Schema::new();
    let [one, two] = [replica(&schema, 41), replica(&schema, 42)];
    let made = one.once("k", put_subscription("ci")).await.unwrap();
    assert!(made[0].revealed.is_some());
    // The other need not have heard of it.
    let again = two.once("k", put_subscription("ci")).await.unwrap();
    assert_eq!(again[0].kind, ChangeKind::Created, "not `unchanged`, as it is by now");
    assert_eq!((&again[0].id, &again[0].revealed), (&made[0].id, &None));
    let other = two.once("k", put_subscription("other")).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::IdempotencyConflict);
    two.follows(&one).await;
    assert_eq!(one.rules(), two.rules());
    assert_one_log([&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_same_time_one_of_them_carries_it_out() {
    let schema = Schema::new();
    let replicas = [replica(&schema, 43), replica(&schema, 44)].map(Arc::new);
    let before = replicas[0].api.rules().borrow().keys.len();
    let calls = (0..16).map(|n| {
        let at = Arc::clone(&replicas[n % 2]);
        let roles = Roles::parse(["producer"]).unwrap();
        let issue =
            Command::IssueKey { name: "p".into(), roles, subscriber: None, expires_at: None };
        tokio::spawn(async move { at.once("k", issue).await.unwrap().remove(0) })
    });
    let (mut made, mut shown) = (Vec::new(), 0);
    for call in calls.collect::<Vec<_>>() {
        let change = call.await.unwrap();
        shown += u32::from(change.revealed.is_some());
        made.push(change.id);
    }
    assert!(made[0].is_some() && made.iter().all(|id| *id == made[0]), "{made:?}");
    assert_eq!(shown, 1, "the token is shown once");
    replicas[0].follows(&replicas[1]).await;
    replicas[1].follows(&replicas[0]).await;
    for replica in &replicas {
        assert_eq!(replica.api.rules().borrow().keys.len(), before + 1);
    }
    assert_one_log([&*replicas[0], &*replicas[1]]).await;
}
