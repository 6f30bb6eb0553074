//! Who may do what, and who receives what.

use contract::{
    access::Roles,
    backoff::Span,
    clock::{Clock, SystemClock},
    command::{Changeset, Command},
    event::Audience,
    secret::Secret,
};
use serde_json::json;
use std::time::Duration;
use tests::{Deployment, Subscriber, Wiring, eventually, get, post, stories};

stories!(
    keys_open_only_their_doors,
    a_key_shows_its_last_use_and_expires,
    who_may_receive,
    a_manifest_is_idempotent,
);

async fn key(certes: &Deployment, role: &str) -> Secret {
    let issue = Command::IssueKey {
        name: role.to_owned(),
        roles: Roles::parse([role]).unwrap(),
        subscriber: None,
        expires_at: None,
    };
    let changes = Changeset { commands: vec![issue], ..Changeset::default() };
    let made = certes.remote().await.unwrap().execute(changes).await.unwrap();
    made[0].revealed.clone().unwrap()
}

async fn a_key_shows_its_last_use_and_expires(wiring: Wiring) {
    let often = Span(Duration::from_millis(20));
    let certes =
        Deployment::configured(wiring, |config| config.identity.key_uses_every = often).await;
    let certes = certes.unwrap();
    let before = SystemClock.now();
    let issue = |name: &str, expires_at| Command::IssueKey {
        name: name.to_owned(),
        roles: Roles::parse(["events:read"]).unwrap(),
        subscriber: None,
        expires_at,
    };
    let remote = certes.remote().await.unwrap();
    let expiry = before.after(Duration::from_secs(2));
    remote.execute_one(issue("idle", None)).await.unwrap();
    let made = remote.execute_one(issue("short", Some(expiry))).await.unwrap();
    let token = made.revealed.unwrap();
    let stats = "{ stats { accepted } }";
    assert_eq!(certes.graphql_as(token.expose(), stats).await.unwrap().status, 200);
    let used = eventually("its use is shown", async || {
        let keys = remote.keys().await.ok()?;
        assert_eq!(keys.iter().find(|key| key.name == "idle")?.last_used_at, None);
        keys.iter().find(|key| key.name == "short")?.last_used_at
    })
    .await;
    assert!(before <= used && used <= SystemClock.now(), "{used}");
    let shown = certes.graphql("{ keys { name lastUsedAt } }").await.unwrap();
    let mut shown = shown["keys"].as_array().unwrap().iter();
    let shown = shown.find(|key| key["name"] == "short").unwrap();
    assert_eq!(shown["lastUsedAt"], used.to_string());
    eventually("the key has expired", async || {
        let answer = certes.graphql_as(token.expose(), stats).await.ok()?;
        (answer.status == 401).then_some(())
    })
    .await;
    assert!(SystemClock.now() >= expiry, "not before its time");
    certes.stop().await.unwrap();
}

async fn keys_open_only_their_doors(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let stats = "{ stats { accepted } }";
    let nobody = certes.graphql_as("certes_0000", stats).await.unwrap();
    assert_eq!(
        (nobody.status.as_u16(), nobody.json()["code"].as_str()),
        (401, Some("unauthenticated"))
    );

    let producer = key(&certes, "producer").await;
    let sources = certes.graphql_as(producer.expose(), "{ sources { name } }").await.unwrap();
    assert_eq!(sources.json()["errors"][0]["extensions"]["code"], "permission_denied");
    let reader = key(&certes, "events:read").await;
    assert!(certes.graphql_as(reader.expose(), stats).await.unwrap().json()["errors"].is_null());
    let bearer = format!("Bearer {}", reader.expose());
    let url = format!("{}/events/a/1/b", certes.http);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let refused = post(&url, &headers, "{}").await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), refused.json()["code"].as_str()),
        (403, Some("permission_denied"))
    );

    let root = get(&format!("{}/", certes.http)).await.unwrap().json();
    assert_eq!((&root["name"], &root["ready"]), (&json!("certes"), &json!(true)));
    let metrics = get(&format!("{}/metrics", certes.admin)).await.unwrap();
    let metrics = String::from_utf8_lossy(&metrics.body);
    let mut families: Vec<_> = metrics.lines().filter(|line| line.starts_with("# HELP")).collect();
    let names = |line: &&str| line.split(' ').nth(2).map(str::to_owned);
    families.sort_unstable();
    let count = families.len();
    families.dedup_by_key(|line| names(&&**line));
    assert!(count > 1 && families.len() == count, "each family is shown once");
    assert_eq!(get(&format!("{}/health/live", certes.admin)).await.unwrap().status, 200);
    assert_eq!(get(&format!("{}/health/ready", certes.admin)).await.unwrap().status, 200);
    certes.stop().await.unwrap();
}

async fn who_may_receive(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::configured(wiring, |config| {
        config.gateway.unvalidated = contract::event::Disposition::Accept;
    })
    .await
    .unwrap();
    let url = subscriber.url();
    let manifest = format!(
        r#"
subscribers: [{{id: a}}, {{id: b}}]
sources:
  - {{name: ours, verify: none, event_type: "shop/1/order", unvalidated: accept}}
  - {{name: for_a, verify: none, event_type: "shop/1/order", unvalidated: accept, subscriber: a}}
subscriptions:
  - {{name: own, url: "{url}", events: ["shop/1/*"]}}
  - {{name: own_other, url: "{url}", events: ["shop/2/*"]}}
  - {{name: of_a, url: "{url}", events: ["shop/1/*"], subscriber: a}}
  - {{name: of_b, url: "{url}", events: ["*/1/order"], subscriber: b}}
"#
    );
    certes.apply(&manifest).await.unwrap();
    let bearer = format!("Bearer {}", certes.key.expose());
    // Who sends it, to whom, and which subscriptions get it.
    let typed =
        |audience: Audience| (format!("{}/events/shop/1/order", certes.http), Some(audience));
    let table = [
        ((format!("{}/events/ours", certes.http), None), vec!["own"]),
        ((format!("{}/events/for_a", certes.http), None), vec!["of_a"]),
        (typed(Audience::Own), vec!["own"]),
        (typed(Audience::Subscriber("a".into())), vec!["of_a"]),
        (typed(Audience::Subscriber("b".into())), vec!["of_b"]),
        (typed(Audience::Subscriber("nobody".into())), vec![]),
        (typed(Audience::All), vec!["of_a", "of_b"]),
    ];
    for ((url, audience), expected) in table {
        let to = match &audience {
            Some(Audience::Subscriber(id)) => Some(id.clone()),
            Some(Audience::All) => Some("*".to_owned()),
            Some(Audience::Own) | None => None,
        };
        let mut headers = vec![("content-type", "application/json")];
        if audience.is_some() {
            headers.push(("authorization", bearer.as_str()));
        }
        if let Some(to) = &to {
            headers.push(("certes-subscriber", to.as_str()));
        }
        let answer = post(&url, &headers, "{}").await.unwrap();
        assert_eq!(answer.status, 202, "{audience:?}: {:?}", answer.body);
        let id = answer.id();
        let query =
            format!("{{ event(id: \"{id}\") {{ deliveries {{ subscription {{ name }} }} }} }}");
        let data = certes.graphql(&query).await.unwrap();
        let mut names: Vec<_> = data["event"]["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|delivery| delivery["subscription"]["name"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{url} {audience:?}");
    }
    certes.stop().await.unwrap();
}

async fn a_manifest_is_idempotent(wiring: Wiring) {
    use contract::command::ChangeKind::{Changed, Created, Removed, Unchanged};
    let certes = Deployment::start(wiring).await.unwrap();
    let text = super::main_path::manifest("http://127.0.0.1:9/hook", "");
    let kinds = |changes: &[contract::command::Change]| {
        let of = |noun: &str| changes.iter().find(|change| change.noun == noun).map(|c| c.kind);
        (of("source"), of("subscription"), of("schema"))
    };
    let first = certes.apply(&text).await.unwrap();
    assert_eq!(kinds(&first), (Some(Created), Some(Created), Some(Created)));
    let again = certes.apply(&text).await.unwrap();
    assert!(again.iter().all(|change| change.kind == Unchanged), "{again:?}");
    let changed = certes.apply(&text.replace("name: ci,", "name: ci, priority: 9,")).await.unwrap();
    assert_eq!(kinds(&changed), (Some(Unchanged), Some(Changed), Some(Unchanged)));

    // Made by hand: no prune may touch it.
    let by_hand = "mutation { createSubscription(input: {name: \"hand\", url: \"http://127.0.0.1:9/\", \
                   events: [\"a/1/*\"]}) { secret } }";
    let made = certes.graphql(by_hand).await.unwrap();
    assert!(made["createSubscription"]["secret"].as_str().unwrap().starts_with("whsec_"));
    let remote = certes.remote().await.unwrap();
    let none = Changeset { managed: true, prune: true, ..Changeset::default() };
    let pruned = remote.execute(none).await.unwrap();
    let mut removed: Vec<_> =
        pruned.iter().filter(|c| c.kind == Removed).map(|c| c.name.as_str()).collect();
    removed.sort_unstable();
    assert_eq!(removed, ["ci", "github"]);
    let left = certes.graphql("{ subscriptions { name } sources { name } }").await.unwrap();
    assert_eq!(left, json!({"subscriptions": [{"name": "hand"}], "sources": []}));
    certes.stop().await.unwrap();
}
