//! Changes that are sent again under the same id.

use super::harness::{Bench, operator, principal, put_subscription};
use crate::graphql;
use async_graphql::Request;
use contract::{
    ErrorCode, Result,
    command::{Change, ChangeKind, Changeset, Command, Target},
    master_api::Configuration,
};
use serde_json::{Value, json};
use std::time::Duration;

async fn execute(bench: &Bench, key: &str, commands: Vec<Command>) -> Result<Vec<Change>> {
    let idempotency_key = Some(key.to_owned());
    let changes = Changeset { commands, idempotency_key, ..Changeset::default() };
    bench.api.execute(operator(), changes).await
}

#[tokio::test]
async fn the_first_answer_is_given_again_also_after_a_restart() {
    let bench = Bench::embedded();
    let made = execute(&bench, "one", vec![put_subscription("ci")]).await.unwrap();
    assert!(made[0].revealed.is_some());
    let before = bench.rules();
    let bench = bench.reopen().await;
    let again = execute(&bench, "one", vec![put_subscription("ci")]).await.unwrap();
    assert_eq!(again[0].kind, ChangeKind::Created, "not `unchanged`, as it is by now");
    assert_eq!((again[0].id.clone(), again[0].revealed.clone()), (made[0].id.clone(), None));
    assert_eq!(bench.rules(), before);
    let other = execute(&bench, "one", vec![put_subscription("other")]).await.unwrap_err();
    assert_eq!(other.code, ErrorCode::IdempotencyConflict);

    bench.clock.advance(Duration::from_secs(24 * 3600));
    let later = execute(&bench, "one", vec![put_subscription("other")]).await.unwrap();
    assert_eq!(later[0].kind, ChangeKind::Created);
    bench.assert_verified().await;
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_and_a_dry_run_counts_for_nothing() {
    let bench = Bench::memory();
    let remove = || vec![Command::Remove(Target::Subscription("ci".into()))];
    let refused = execute(&bench, "k", remove()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    bench.execute(vec![put_subscription("ci")]).await.unwrap();
    let dry = Changeset {
        commands: remove(),
        dry_run: true,
        idempotency_key: Some("k".into()),
        ..Changeset::default()
    };
    bench.api.execute(operator(), dry).await.unwrap();
    execute(&bench, "k", remove()).await.unwrap();
    let again = execute(&bench, "k", remove()).await.unwrap();
    assert_eq!(again[0].kind, ChangeKind::Removed, "the answer of the time when it was there");
    let empty = execute(&bench, "", remove()).await.unwrap_err();
    assert_eq!(empty.code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn two_at_the_same_time_are_one() {
    let bench = Bench::memory();
    let issue = || {
        let roles = contract::access::Roles::parse(["producer"]).unwrap();
        vec![Command::IssueKey { name: "p".into(), roles, subscriber: None, expires_at: None }]
    };
    let before = bench.api.rules().borrow().keys.len();
    let both = tokio::join!(execute(&bench, "k", issue()), execute(&bench, "k", issue()));
    let (one, two) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(one[0].id, two[0].id);
    assert_eq!(one[0].revealed.is_some() as u8 + two[0].revealed.is_some() as u8, 1);
    assert_eq!(bench.api.rules().borrow().keys.len(), before + 1);
}

#[tokio::test]
async fn every_change_of_the_configuration_takes_an_id_over_graphql() {
    let bench = Bench::memory();
    let schema = graphql::schema(bench.api.clone(), None, None);
    let ask = async |query: &str| -> Value {
        let admin = Some(principal(&["admin"], None));
        let response = graphql::answer(&schema, admin, Request::new(query)).await.unwrap();
        serde_json::to_value(response).unwrap()
    };
    let make = |name: &str| {
        format!(
            "mutation {{ createKey(name: \"{name}\", roles: [\"producer\"], clientMutationId: \"m1\") \
             {{ token key {{ id name }} }} }}"
        )
    };
    let first = ask(&make("a")).await["data"]["createKey"].clone();
    assert!(first["token"].as_str().unwrap().starts_with("certes_"), "{first}");
    let again = ask(&make("a")).await["data"]["createKey"].clone();
    assert_eq!((&again["key"], &again["token"]), (&first["key"], &json!(null)));
    let other = ask(&make("b")).await;
    assert_eq!(other["errors"][0]["extensions"]["code"], "idempotency_conflict");
    let keys = ask("{ keys { name } }").await["data"]["keys"].clone();
    let named = keys.as_array().unwrap().iter().filter(|key| key["name"] == "a").count();
    assert_eq!(named, 1, "{keys}");

    // By a variable, too; each field of a request has its own.
    let request = Request::new(
        "mutation($id: String) { putSubscriber(id: \"o\", clientMutationId: $id) { id } }",
    );
    let request = request.variables(async_graphql::Variables::from_json(json!({"id": "m1"})));
    let admin = Some(principal(&["admin"], None));
    let clash = graphql::answer(&schema, admin, request).await.unwrap();
    let clash = serde_json::to_value(clash).unwrap();
    assert_eq!(clash["errors"][0]["extensions"]["code"], "idempotency_conflict", "{clash}");

    let told = ask("{ __schema { mutationType { fields { name args { name } } } } }").await;
    let fields = told["data"]["__schema"]["mutationType"]["fields"].as_array().unwrap().clone();
    let takes = |field: &&Value| {
        let args = field["args"].as_array().unwrap();
        args.iter().any(|argument| argument["name"] == "clientMutationId")
    };
    let without: Vec<_> = fields.iter().filter(|field| !takes(field)).collect();
    assert_eq!((fields.len() > 30, without.len()), (true, 12), "{without:?}");
}
