//! The life of a contract: published, changed, refused, renewed, and taken out of force.

use contract::{
    ErrorCode,
    access::Roles,
    command::{Changeset, Command},
    secret::Secret,
};
use proto::{
    client::Bearer,
    status,
    v1::{self, schema_registry_client::SchemaRegistryClient},
};
use serde_json::{Value, json};
use tests::{Answer, Deployment, Wiring, eventually, post, stories};
use tonic::{service::interceptor::InterceptedService, transport::Channel};

stories!(
    a_contract_evolves,
    a_contract_is_deleted,
    of_two_at_once_one_learns_of_the_other,
    bad_contracts_leave_nothing_behind,
    own_types_and_roles_are_guarded,
    rulebooks_judge,
);

/// Asks GraphQL to do something with a contract of the type `shop/1/paid`; gives `data` or fails.
async fn publish(certes: &Deployment, fields: &str, more: &str) -> Value {
    let answer = try_publish(certes, "publishSchema", fields, more).await;
    assert!(answer["errors"].is_null(), "{fields}: {answer}");
    answer["data"]["publishSchema"].clone()
}

async fn try_publish(certes: &Deployment, what: &str, fields: &str, more: &str) -> Value {
    let kind = if what == "checkSchema" { "query" } else { "mutation" };
    let text = format!("syntax = 'proto3'; package shop.v1; message Paid {{ {fields} }}");
    let query = format!(
        "{kind} {{ {what}(input: {{uri: \"shop/1/paid\", files: [{{path: \"shop/1/paid.proto\", \
         text: {text:?}}}] {more}}}) {{ changed refusal subscriptions schema {{ uri version rulebook }} \
         differences {{ path rule verdict text }} }} }}"
    );
    certes.graphql_as(certes.key.expose(), &query).await.unwrap().json()
}

async fn send(certes: &Deployment, uri: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    post(&format!("{}/events/{uri}", certes.http), &headers, body.to_owned()).await.unwrap()
}

/// Sends until the answer has this status: other processes learn of a schema within a second.
async fn until(certes: &Deployment, uri: &str, body: &str, status: u16) {
    let what = format!("{uri} {body} is answered {status}");
    eventually(&what, || async { (send(certes, uri, body).await.status == status).then_some(()) })
        .await;
}

const RECEIVER: &str = r#"
subscriptions:
  - {name: ledger, url: "http://127.0.0.1:9/", events: ["shop/1/*"]}
  - {name: other, url: "http://127.0.0.1:9/", events: ["shop/2/*"]}
"#;

async fn a_contract_evolves(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(RECEIVER).await.unwrap();
    let first = publish(&certes, "int64 cents = 1;", r#"example: "{\"cents\": 5}""#).await;
    assert_eq!((&first["changed"], &first["schema"]["version"]), (&json!(true), &json!("1.0")));
    let again = publish(&certes, "int64 cents = 1;", r#"example: "{\"cents\": 5}""#).await;
    assert_eq!((&again["changed"], &again["schema"]["version"]), (&json!(false), &json!("1.0")));
    until(&certes, "shop/1/paid", r#"{"cents": 1}"#, 202).await;

    let wider = publish(&certes, "int64 cents = 1; string currency = 2;", "").await;
    assert_eq!(wider["schema"]["version"], "1.1");
    let rules: Vec<_> =
        wider["differences"].as_array().unwrap().iter().map(|d| &d["rule"]).collect();
    assert_eq!(rules, ["example_changed", "field_added"]);

    let broken = "string cents = 1; string currency = 2;";
    let checked =
        try_publish(&certes, "checkSchema", broken, "").await["data"]["checkSchema"].take();
    assert_eq!(checked["subscriptions"], json!(["ledger"]));
    assert_eq!(checked["schema"]["version"], "1.1", "that stays in force");
    let difference = &checked["differences"][0];
    assert_eq!(difference["path"], "shop.v1.Paid.cents");
    assert_eq!(difference["rule"], "field_type_changed");
    assert_eq!(difference["verdict"], "breaking");
    let refused = try_publish(&certes, "publishSchema", broken, "").await["errors"][0].take();
    assert_eq!(refused["extensions"]["code"], "invalid_definition");
    assert_eq!(refused["extensions"]["errors"][0]["path"], "shop.v1.Paid.cents");
    assert_eq!(refused["message"], checked["refusal"]);

    let next = publish(&certes, broken, "nextMajor: true").await;
    assert_eq!(next["schema"]["uri"], "shop/2/paid");
    assert_eq!(next["schema"]["version"], "2.0");
    let again = publish(&certes, broken, "nextMajor: true").await;
    assert_eq!((&again["changed"], &again["schema"]["version"]), (&json!(false), &json!("2.0")));
    until(&certes, "shop/2/paid", r#"{"cents": "five"}"#, 202).await;
    assert_eq!(send(&certes, "shop/2/paid", r#"{"cents": 5}"#).await.status, 422);
    assert_eq!(send(&certes, "shop/1/paid", r#"{"cents": "five"}"#).await.status, 422);
    assert_eq!(send(&certes, "shop/1/paid", r#"{"cents": 5}"#).await.status, 202);

    let query = r#"{
        old: schema(uri: "shop/1/paid", version: "1.0") { version example files { path text } }
        new: schema(uri: "shop/1/paid") { version example versions { version }
            diff(from: "1.0") { rule } }
        major: schema(uri: "shop/2/paid") { diff(from: "1.1", rulebook: "wire") { verdict } }
        none: schema(uri: "shop/1/paid", version: "1.7") { version }
        history: schemaVersions(uri: "shop/1/paid") { version } }"#;
    let data = certes.graphql(query).await.unwrap();
    assert_eq!(data["old"]["version"], "1.0");
    assert_eq!(data["old"]["example"], r#"{"cents": 5}"#);
    assert_eq!(data["old"]["files"][0]["path"], "shop/1/paid.proto");
    let versions = json!([{"version": "1.0"}, {"version": "1.1"}]);
    assert_eq!((&data["new"]["versions"], &data["history"]), (&versions, &versions));
    assert_eq!(data["new"]["example"], Value::Null);
    assert_eq!(data["new"]["diff"], json!([{"rule": "example_changed"}, {"rule": "field_added"}]));
    assert_eq!(data["major"]["diff"], json!([{"verdict": "breaking"}]));
    assert_eq!(data["none"], Value::Null);
    certes.stop().await.unwrap();
}

async fn a_contract_is_deleted(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(RECEIVER).await.unwrap();
    publish(&certes, "int64 cents = 1;", "").await;
    until(&certes, "shop/1/paid", "{}", 202).await;
    let delete = r#"mutation { deleteSchema(uri: "shop/1/paid") }"#;
    let refused = certes.graphql_as(certes.key.expose(), delete).await.unwrap().json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "conflict");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("`ledger` needs it"));

    certes.graphql(r#"mutation { deleteSubscription(name: "ledger") }"#).await.unwrap();
    assert_eq!(certes.graphql(delete).await.unwrap()["deleteSchema"], true);
    until(&certes, "shop/1/paid", "{}", 404).await;
    let gone = certes.graphql_as(certes.key.expose(), delete).await.unwrap().json();
    assert_eq!(gone["errors"][0]["extensions"]["code"], "unknown_event_type");

    // What was promised once is not promised again under the same number.
    let renewed = publish(&certes, "string anything = 1;", "").await;
    assert_eq!(renewed["schema"]["version"], "1.1");
    until(&certes, "shop/1/paid", r#"{"anything": "goes"}"#, 202).await;
    certes.stop().await.unwrap();
}

async fn of_two_at_once_one_learns_of_the_other(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    publish(&certes, "int64 cents = 1;", "").await;
    for round in 2..8 {
        let before: String = (2..round).map(|n| format!(" bool won{n} = {n};")).collect();
        let wanted = |who: &str| format!("int64 cents = 1;{before} bool {who}{round} = {round};");
        let (ours, theirs) = (wanted("ours"), wanted("theirs"));
        let (ours, theirs) = tokio::join!(
            try_publish(&certes, "publishSchema", &ours, "rulebook: \"confluent\""),
            try_publish(&certes, "publishSchema", &theirs, "rulebook: \"confluent\""),
        );
        let won = [&ours, &theirs].into_iter().filter(|answer| answer["errors"].is_null()).count();
        let lost = [&ours, &theirs].into_iter().filter(|answer| !answer["errors"].is_null());
        for answer in lost.clone() {
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "conflict", "{error}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("current version is 1."), "{message}");
        }
        // They may also come after one another, when a rename is compatible for this rulebook.
        assert!(won >= 1 && won + lost.count() == 2, "{ours} {theirs}");
        let settled = publish(&certes, &wanted("won"), "rulebook: \"confluent\"").await;
        assert_eq!(settled["changed"], true);
    }
    certes.stop().await.unwrap();
}

/// A contract of `shop/1/paid` in these files.
fn source(files: &[(&str, &str)]) -> v1::SchemaSource {
    let file = |(path, text): &(&str, &str)| v1::ProtoFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    v1::SchemaSource {
        uri: "shop/1/paid".into(),
        entry: "shop/1/paid.proto".into(),
        files: files.iter().map(file).collect(),
        ..v1::SchemaSource::default()
    }
}

/// The same with a message and an example, where they are given.
fn with(source: v1::SchemaSource, message: &str, example: &str) -> v1::SchemaSource {
    v1::SchemaSource {
        message: (!message.is_empty()).then(|| message.into()),
        example: (!example.is_empty()).then(|| example.into()),
        ..source
    }
}

async fn bad_contracts_leave_nothing_behind(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let registry = registry(&certes, certes.key.clone()).await;
    let fine = ("shop/1/paid.proto", "syntax = 'proto3'; message Paid { int32 n = 1; }");
    let large = format!("{}//{}", fine.1, "x".repeat(10 * 1024 * 1024));
    let bad = [
        (
            source(&[("shop/1/paid.proto", "syntax = 'proto3'; message Paid {")]),
            "shop/1/paid.proto:1:",
        ),
        (
            source(&[(
                "shop/1/paid.proto",
                "syntax = 'proto3'; import 'a.proto'; message Paid {}",
            )]),
            "a.proto",
        ),
        (
            source(&[
                ("shop/1/paid.proto", "syntax = 'proto3'; import 'a.proto'; message Paid {}"),
                ("a.proto", "syntax = 'proto3'; import 'shop/1/paid.proto';"),
            ]),
            "cycle",
        ),
        (
            source(&[("shop/1/paid.proto", "syntax = 'proto3'; message Paid {} message Paid {}")]),
            "defined twice",
        ),
        (
            source(&[
                ("shop/1/paid.proto", "syntax = 'proto3'; import 'a.proto'; message Paid {}"),
                ("a.proto", "syntax = 'proto3'; message Paid {}"),
            ]),
            "already defined in file",
        ),
        (with(source(&[fine]), "Refunded", ""), "no message `Refunded`"),
        (source(&[("shop/1/paid.proto", &large)]), "at most 4194304"),
        (source(&[fine, ("../../etc/paid.proto", "syntax = 'proto3';")]), "relative path"),
        (source(&[("shop/1/paid.proto", "edition = '2023'; message Paid {}")]), "editions"),
        (source(&[]), "not among the files"),
        (with(source(&[fine]), "", r#"{"n": "many"}"#), "the example"),
    ];
    for (source, part) in bad {
        let request = v1::PublishRequest { source: Some(source) };
        let refused = registry.clone().publish(request).await.unwrap_err();
        let error = status::error(&refused);
        let known = [ErrorCode::InvalidDefinition, ErrorCode::ContractViolation];
        assert!(known.contains(&error.code), "{part}: {error:?}");
        assert!(error.message.contains(part), "{part}: {error:?}");
    }
    let versions = v1::ListVersionsOfSchemaRequest { uri: "shop/1/paid".into() };
    let versions = registry.clone().list_versions(versions).await.unwrap().into_inner().schemas;
    assert!(versions.is_empty());
    assert_eq!(send(&certes, "shop/1/paid", "{}").await.status, 404);
    let request = v1::PublishRequest { source: Some(source(&[fine])) };
    let published = registry.clone().publish(request).await.unwrap().into_inner();
    assert_eq!((published.changed, published.version.unwrap().minor), (true, 0));
    certes.stop().await.unwrap();
}

async fn registry(
    certes: &Deployment,
    key: Secret,
) -> SchemaRegistryClient<InterceptedService<Channel, Bearer>> {
    let channel = Channel::from_shared(certes.http.clone()).unwrap().connect().await.unwrap();
    let channel = InterceptedService::new(channel, Bearer::new(&key).unwrap());
    SchemaRegistryClient::new(channel).max_encoding_message_size(32 * 1024 * 1024)
}

async fn own_types_and_roles_are_guarded(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let own = certes.graphql("{ schemas { uri version } }").await.unwrap();
    let own = own["schemas"].as_array().unwrap();
    assert!(own.iter().any(|found| found["uri"] == "_certes/1/delivery_dead"), "{own:?}");
    assert!(own.iter().all(|found| found["version"] == "1.0"), "{own:?}");

    let publish = |uri: &str| {
        format!(
            "mutation {{ publishSchema(input: {{uri: \"{uri}\", files: [{{path: \"x.proto\", \
             text: \"syntax = 'proto3'; message X {{}}\"}}]}}) {{ changed }} }}"
        )
    };
    let delete = r#"mutation { deleteSchema(uri: "_certes/1/delivery_dead") }"#;
    for query in [publish("_certes/1/mine"), publish("_certes/1/delivery_dead"), delete.to_owned()]
    {
        let answer = certes.graphql_as(certes.key.expose(), &query).await.unwrap().json();
        let code = &answer["errors"][0]["extensions"]["code"];
        assert!(code == "permission_denied" || code == "invalid_definition", "{query}: {answer}");
        assert_eq!(answer["data"], Value::Null);
    }
    // The repository's own directory holds them, too: the same content is no harm.
    certes.apply("schemas: [{dir: 'SCHEMAS/_certes'}]").await.unwrap();

    let reader = key(&certes, "schemas:read").await;
    let refused = certes.graphql_as(reader.expose(), &publish("shop/1/x")).await.unwrap().json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "permission_denied");
    let seen =
        certes.graphql_as(reader.expose(), "{ schemas { uri files { path } } }").await.unwrap();
    assert!(seen.json()["errors"].is_null());
    let stranger = key(&certes, "events:read").await;
    let refused = certes.graphql_as(stranger.expose(), "{ schemas { uri } }").await.unwrap().json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "permission_denied");
    let writer = key(&certes, "schemas:write").await;
    let done = certes.graphql_as(writer.expose(), &publish("shop/1/x")).await.unwrap().json();
    assert_eq!(done["data"]["publishSchema"]["changed"], true);

    let delete = |uri: &str| v1::DeleteSchemaRequest { uri: uri.into() };
    let mut reading = registry(&certes, reader).await;
    let refused = reading.delete(delete("shop/1/x")).await.unwrap_err();
    assert_eq!(status::error(&refused).code, ErrorCode::PermissionDenied);
    let mut writing = registry(&certes, writer).await;
    let refused = writing.delete(delete("_certes/1/delivery_dead")).await.unwrap_err();
    assert_eq!(status::error(&refused).code, ErrorCode::PermissionDenied);
    writing.delete(delete("shop/1/x")).await.unwrap();
    certes.stop().await.unwrap();
}

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

async fn rulebooks_judge(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let first = publish(&certes, "int32 cents = 1; string note = 2;", "rulebook: \"wire\"").await;
    assert_eq!(first["schema"]["rulebook"], "wire");
    // The version keeps its rulebook: nothing has to name it again.
    let renamed = publish(&certes, "int64 amount = 1;", "").await;
    assert_eq!(renamed["schema"]["version"], "1.1");
    assert_eq!(renamed["schema"]["rulebook"], "wire");
    let broken = try_publish(&certes, "publishSchema", "string amount = 1;", "").await;
    assert_eq!(broken["errors"][0]["extensions"]["code"], "invalid_definition");
    // Another rulebook is one difference more, and judges at once.
    let strict = "int64 total = 1;";
    let strict = try_publish(&certes, "checkSchema", strict, "rulebook: \"certes\"").await;
    let strict = &strict["data"]["checkSchema"];
    assert!(strict["refusal"].as_str().unwrap().contains("renamed to `total`"), "{strict}");
    let looser = publish(&certes, "int64 amount = 1;", "rulebook: \"confluent\"").await;
    assert_eq!(looser["schema"]["version"], "1.2");
    assert_eq!(looser["differences"][0]["rule"], "rulebook_changed");
    certes.stop().await.unwrap();
}
