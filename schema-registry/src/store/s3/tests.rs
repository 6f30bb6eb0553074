//! Against a small server of our own; `cargo xtask test --all` adds one that is not ours.

use super::*;
use crate::{bundle::digest, store::conformance};
use axum::{
    Router,
    extract::{Path as UrlPath, State},
    http::StatusCode,
    routing::get,
};
use contract::backoff::Span;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Objects of a bucket by path, and answers that come first.
#[derive(Default)]
struct Fake {
    objects: Mutex<BTreeMap<String, Bytes>>,
    refusals: Mutex<usize>,
}

type Shared = State<Arc<Fake>>;

async fn put(
    State(fake): Shared,
    UrlPath(path): UrlPath<String>,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1]) {
    let headers = [("etag", "\"0\"")];
    if refuse(&fake) {
        return (StatusCode::SERVICE_UNAVAILABLE, headers);
    }
    fake.objects.lock().unwrap().insert(path, body);
    (StatusCode::OK, headers)
}

async fn fetch(
    State(fake): Shared,
    UrlPath(path): UrlPath<String>,
) -> (StatusCode, [(&'static str, &'static str); 2], Bytes) {
    let headers = [("etag", "\"0\""), ("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT")];
    if refuse(&fake) {
        return (StatusCode::SERVICE_UNAVAILABLE, headers, Bytes::new());
    }
    match fake.objects.lock().unwrap().get(&path) {
        Some(bytes) => (StatusCode::OK, headers, bytes.clone()),
        None => (StatusCode::NOT_FOUND, headers, Bytes::new()),
    }
}

fn refuse(fake: &Fake) -> bool {
    let mut refusals = fake.refusals.lock().unwrap();
    let refuse = *refusals > 0;
    *refusals = refusals.saturating_sub(1);
    refuse
}

async fn serve(fake: Arc<Fake>) -> String {
    let router = Router::new().route("/{*path}", get(fetch).put(put)).with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn store(endpoint: &str) -> S3Store {
    drop(rustls::crypto::ring::default_provider().install_default());
    let config = S3Config {
        endpoint: Some(endpoint.to_owned()),
        region: Some("eu-central-1".to_owned()),
        deadline: Span(Duration::from_secs(2)),
        timeout: Span(Duration::from_secs(1)),
        ..S3Config::default()
    };
    let variables =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_PAGER", "less")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let bucket: Bucket = "s3://contracts/of/certes".parse().unwrap();
    S3Store::new(&bucket, &config, variables).unwrap()
}

#[tokio::test]
async fn conforms() {
    let fake = Arc::new(Fake::default());
    let endpoint = serve(fake.clone()).await;
    conformance::run(Arc::new(store(&endpoint))).await;
    let objects = fake.objects.lock().unwrap();
    let named = |path: &String| {
        let kind = [".bundle", ".note"].iter().any(|end| path.ends_with(end));
        path.starts_with("contracts/of/certes/") && kind
    };
    assert!(objects.keys().all(named), "{:?}", objects.keys());
}

#[cfg(feature = "all")]
#[tokio::test]
async fn conforms_on_a_server_that_is_not_ours() {
    #[expect(clippy::disallowed_methods, reason = "this is how the judge is found")]
    let endpoint = std::env::var("CERTES_TEST_S3").expect("cargo xtask test --all sets it");
    let unique = format!("{:?}", std::thread::current().id());
    let store = Arc::new(store(&endpoint));
    conformance::run(store.clone()).await;
    let bytes = Bytes::from(unique);
    store.put(digest(&bytes), bytes.clone()).await.unwrap();
    let again = super::tests::store(&endpoint);
    assert_eq!(again.get(digest(&bytes)).await, Ok(Some(bytes)));
}

#[tokio::test]
async fn a_busy_bucket_is_asked_again() {
    let fake = Arc::new(Fake { refusals: Mutex::new(2), ..Fake::default() });
    let store = store(&serve(fake.clone()).await);
    let bytes = Bytes::from_static(b"kept");
    store.put(digest(&bytes), bytes.clone()).await.unwrap();
    *fake.refusals.lock().unwrap() = 1;
    assert_eq!(store.get(digest(&bytes)).await, Ok(Some(bytes)));
}

#[tokio::test]
async fn damage_is_named() {
    let fake = Arc::new(Fake::default());
    let store = store(&serve(fake.clone()).await);
    let bytes = Bytes::from_static(b"right");
    let address = digest(&bytes);
    store.put(address, bytes).await.unwrap();
    fake.objects.lock().unwrap().values_mut().for_each(|bytes| *bytes = "wrong".into());
    let error = store.get(address).await.unwrap_err();
    assert!(error.message.contains(&hex::encode(address)), "{error}");
}

#[tokio::test]
async fn a_black_hole_costs_no_more_than_the_deadline() {
    // A listener that takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = store(&format!("http://{}", listener.local_addr().unwrap()));
    let error = store.get([1; 32]).await.unwrap_err();
    let codes = [ErrorCode::DeadlineExceeded, ErrorCode::Unavailable];
    assert!(codes.contains(&error.code), "{error}");
}
