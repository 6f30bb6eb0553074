//! What a right to change does not include: to read, and to take away what one does not have.

use certes::remote::Remote;
use contract::{
    access::Roles,
    command::{Change, Command},
    secret::Secret,
};
use serde_json::{Value, json};
use tests::{Deployment, Subscriber, Wiring, stories};

stories!(writing_does_not_include_reading, nobody_locks_others_out);

async fn issue(certes: &Deployment, name: &str, role: &str) -> Change {
    let (name, roles) = (name.to_owned(), Roles::parse([role]).unwrap());
    let issue = Command::IssueKey { name, roles, subscriber: None, expires_at: None };
    certes.remote().await.unwrap().execute_one(issue).await.unwrap()
}

async fn token(certes: &Deployment, name: &str, role: &str) -> Secret {
    issue(certes, name, role).await.revealed.unwrap()
}

async fn ask(certes: &Deployment, token: &Secret, query: &str) -> Value {
    certes.graphql_as(token.expose(), query).await.unwrap().json()
}

async fn writing_does_not_include_reading(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let url = subscriber.url();
    let manifest =
        format!("subscriptions:\n  - {{name: ci, url: \"{url}\", events: [\"shop/1/*\"]}}");
    certes.apply(&manifest).await.unwrap();
    let writer = token(&certes, "writer", "subscriptions:write").await;

    let paused = ask(&certes, &writer, "mutation { pauseSubscription(name: \"ci\") { status } }");
    assert_eq!(paused.await["data"]["pauseSubscription"], json!({"status": "paused"}));
    for field in [
        "url",
        "secretFingerprints",
        "secrets { fingerprint }",
        "headers { name }",
        "auth { method }",
    ] {
        let resume = format!("mutation {{ resumeSubscription(name: \"ci\") {{ {field} }} }}");
        let refused = ask(&certes, &writer, &resume).await;
        let code = &refused["errors"][0]["extensions"]["code"];
        let data = &refused["data"]["resumeSubscription"];
        assert_eq!((code, data), (&json!("permission_denied"), &Value::Null));
        let shown = certes.graphql(&resume).await.unwrap();
        assert!(shown["resumeSubscription"].is_object(), "{shown}");
    }
    // Those who read the past see it there.
    let auditor = token(&certes, "auditor", "config:read").await;
    let past = "{ stateAt { subscription(name: \"ci\") { url } } }";
    let past = ask(&certes, &auditor, past).await;
    assert_eq!(past["data"]["stateAt"]["subscription"]["url"], *url, "{past}");
    certes.stop().await.unwrap();
}

async fn nobody_locks_others_out(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let admin = issue(&certes, "second admin", "admin").await;
    let keeper = issue(&certes, "keeper", "keys:write").await;
    let (admin, own) = (admin.id.unwrap(), keeper.id.unwrap());
    let keeper = keeper.revealed.unwrap();
    let remote = Remote::connect(&certes.http, keeper.clone()).await.unwrap();

    let revoke = |id: &str| format!("mutation {{ revokeKey(id: \"{id}\") }}");
    let refused = ask(&certes, &keeper, &revoke(&admin)).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "permission_denied", "{refused}");
    let refused = remote.execute_one(Command::RevokeKey(admin.parse().unwrap())).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("permission_denied"), "{refused}");

    // It revokes what can do no more, and itself; an administrator revokes another one.
    for (name, by_graphql) in [("one", true), ("other", false)] {
        let id = issue(&certes, name, "keys:write").await.id.unwrap();
        if by_graphql {
            assert_eq!(ask(&certes, &keeper, &revoke(&id)).await["data"]["revokeKey"], true);
        } else {
            remote.execute_one(Command::RevokeKey(id.parse().unwrap())).await.unwrap();
        }
    }
    assert_eq!(ask(&certes, &keeper, &revoke(&own)).await["data"]["revokeKey"], true);
    assert_eq!(certes.graphql(&revoke(&admin)).await.unwrap()["revokeKey"], true);

    // The last one with all roles stays.
    let keys = certes.graphql("{ keys { id name } }").await.unwrap();
    let keys = keys["keys"].as_array().unwrap();
    let last = keys.iter().find(|key| key["name"] == "admin").unwrap()["id"].as_str().unwrap();
    let refused = ask(&certes, &certes.key, &revoke(last)).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "conflict", "{refused}");
    certes.stop().await.unwrap();
}
