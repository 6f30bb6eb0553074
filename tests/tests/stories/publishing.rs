//! Several contracts in one step, from wherever they come: all of them, or none.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    ErrorCode,
    schema::{ProtoFile, PublishSettings, SchemaSet, SchemaSource, SchemaVerdict},
};
use serde_json::{Value, json};
use tests::{Answer, Deployment, Wiring, post, stories};

stories!(
    several_are_published_in_one_step,
    an_archive_comes_through_the_api,
    an_expected_version_is_kept,
);

const MONEY: &str = "syntax = 'proto3'; package shop; message Money { int64 cents = 1; }";
const PAID: &str = "syntax = 'proto3'; package shop; import 'shop/1/money.proto'; \
                    message Paid { Money amount = 1; }";

fn source(name: &str, text: &str) -> SchemaSource {
    let path = format!("shop/1/{name}.proto");
    SchemaSource {
        files: vec![ProtoFile { path: path.clone(), text: text.to_owned() }],
        entry: path,
        ..super::hot_swap::order(&format!("shop/1/{name}"), 0)
    }
}

async fn send(certes: &Deployment, uri: &str, body: &str) -> Answer {
    super::hot_swap::send((&certes.http, certes.key.expose()), uri, body.to_owned()).await
}

async fn graphql(certes: &Deployment, query: &str, variables: Value) -> Value {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let body = json!({ "query": query, "variables": variables }).to_string();
    post(&format!("{}/api/graphql", certes.http), &headers, body).await.unwrap().json()
}

const PUBLISH: &str = "mutation($set: SchemaSetInput!) { publishSchemas(input: $set) { done \
    verdicts { uri published { changed schema { version } } \
    refusal { code message violations { path } } } } }";

async fn several_are_published_in_one_step(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let remote = certes.remote().await.unwrap();
    // The import is found in the same call.
    let set = vec![source("paid", PAID), source("money", MONEY)];
    let verdicts = remote.publish_all(SchemaSet::Sources(set.clone())).await.unwrap();
    assert!(verdicts.iter().all(|verdict| !verdict.is_refused()), "{verdicts:?}");
    let paid = r#"{"amount": {"cents": "5"}}"#;
    assert_eq!(send(&certes, "shop/1/paid", paid).await.status, 202);
    assert_eq!(send(&certes, "shop/1/money", r#"{"cents": 5}"#).await.status, 202);
    assert_eq!(send(&certes, "shop/1/paid", r#"{"amount": {"cents": "x"}}"#).await.status, 422);

    // One refusal refuses all; everybody gets a verdict, and a check says the same.
    let bad = vec![
        source("fine", "syntax = 'proto3'; message Fine {}"),
        source("money", "syntax = 'proto3'; package shop; message Money { string cents = 1; }"),
        source("broken", "syntax = 'proto3'; message"),
    ];
    let checked = remote.check_all(SchemaSet::Sources(bad.clone())).await.unwrap();
    let verdicts = remote.publish_all(SchemaSet::Sources(bad)).await.unwrap();
    let errors = |verdicts: &[SchemaVerdict]| -> Vec<_> {
        verdicts.iter().map(|verdict| (verdict.uri.clone(), verdict.error.clone())).collect()
    };
    assert_eq!(errors(&verdicts), errors(&checked));
    let code = |at: usize| verdicts[at].error.as_ref().map(|error| error.code);
    let invalid = Some(ErrorCode::InvalidDefinition);
    assert_eq!((code(0), code(1), code(2)), (None, invalid, invalid));
    assert_eq!(verdicts[1].error.as_ref().unwrap().violations[0].path, "shop.Money.cents");
    assert!(verdicts[2].error.as_ref().unwrap().message.starts_with("shop/1/broken.proto:1:"));
    assert_eq!(send(&certes, "shop/1/fine", "{}").await.status, 404, "not even that one");

    // The same over GraphQL.
    let input = |name: &str, text: &str| {
        let files = json!([{"path": format!("shop/1/{name}.proto"), "text": text}]);
        json!({"uri": format!("shop/1/{name}"), "files": files})
    };
    let set = json!({"schemas": [input("fine", "syntax = 'proto3'; message Fine {}"),
                                 input("broken", "syntax = 'proto3'; message")]});
    let refused = graphql(&certes, PUBLISH, json!({ "set": set })).await;
    let refused = &refused["data"]["publishSchemas"];
    assert_eq!(refused["done"], false, "{refused}");
    assert_eq!(refused["verdicts"][0]["refusal"], Value::Null);
    assert_eq!(refused["verdicts"][1]["refusal"]["code"], "invalid_definition");
    let listed = certes.graphql("{ schemas { uri } }").await.unwrap();
    assert!(!listed["schemas"].as_array().unwrap().contains(&json!({"uri": "shop/1/fine"})));

    // What is deleted is gone when the answer is there.
    assert_eq!(send(&certes, "shop/1/money", r#"{"cents": 5}"#).await.status, 202);
    remote.delete_schema(&"shop/1/money".parse().unwrap()).await.unwrap();
    assert_eq!(send(&certes, "shop/1/money", r#"{"cents": 5}"#).await.status, 404);
    certes.stop().await.unwrap();
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(packed);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

async fn an_archive_comes_through_the_api(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let bytes = archive(&[("shop/1/money.proto", MONEY), ("shop/1/paid.proto", PAID)]);
    let set = json!({"archive": STANDARD.encode(&bytes), "settings": {"unknownFields": "reject"}});
    let done = graphql(&certes, PUBLISH, json!({ "set": set })).await;
    let done = &done["data"]["publishSchemas"];
    assert_eq!(done["done"], true, "{done}");
    let uris: Vec<_> =
        done["verdicts"].as_array().unwrap().iter().map(|found| &found["uri"]).collect();
    assert_eq!(uris, ["shop/1/money", "shop/1/paid"]);
    assert_eq!(send(&certes, "shop/1/paid", r#"{"other": 1}"#).await.status, 422);

    let settings =
        PublishSettings { unknown_fields: Some(Default::default()), ..Default::default() };
    let verdicts = remote.publish_all(SchemaSet::Archive(bytes.into(), settings)).await.unwrap();
    let version = |at: usize| verdicts[at].published.as_ref().unwrap().version.number().to_string();
    assert_eq!((version(0), version(1)), ("1.1".into(), "1.1".into()));
    assert_eq!(send(&certes, "shop/1/paid", r#"{"other": 1}"#).await.status, 202);

    let climbing = {
        let mut bytes = vec![0; 1536];
        bytes[..16].copy_from_slice(b"../1/evil.proto\0");
        bytes[100..107].copy_from_slice(b"0000644");
        bytes[124..135].copy_from_slice(b"00000000000");
        bytes[148..156].fill(b' ');
        bytes[156] = b'0';
        let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        bytes
    };
    for (bytes, part) in [(climbing, "leaves the archive"), (b"x".to_vec(), "cannot be read")] {
        let set = SchemaSet::Archive(bytes.into(), PublishSettings::default());
        let refused = remote.publish_all(set).await.unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
    }
    certes.stop().await.unwrap();
}

async fn an_expected_version_is_kept(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let order = |minor, expected: &str| SchemaSource {
        expected: Some(expected.parse().unwrap()),
        ..super::hot_swap::order("shop/1/order", minor)
    };
    remote.publish(super::hot_swap::order("shop/1/order", 0)).await.unwrap();
    let published = remote.publish(order(1, "1.0")).await.unwrap();
    assert_eq!(published.version.number().to_string(), "1.1");
    let refused = remote.publish(order(2, "1.0")).await.unwrap_err().to_string();
    assert!(refused.contains("current version of shop/1/order is 1.1"), "{refused}");
    assert!(refused.contains("(conflict)"), "{refused}");
    let query = "mutation { publishSchema(input: {uri: \"shop/1/order\", expected: \"1.0\", \
                 files: [{path: \"order.proto\", text: \"syntax = 'proto3'; message Order {}\"}]}) \
                 { changed } }";
    let refused = graphql(&certes, query, json!({})).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "conflict", "{refused}");
    certes.stop().await.unwrap();
}
