//! A deployment that answers, one that changes its mind, and one that is not listed.

use super::*;
use crate::testing::version;
use axum::{Json, Router, extract::Path as UrlPath, routing::get};
use contract::{clock::Timestamp, schema::ProtoFile};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers with the bundle that is put in, and counts how often it was asked.
#[derive(Default)]
struct Peer {
    bundle: Mutex<Option<SchemaBundle>>,
    asked: AtomicUsize,
}

async fn serve(peer: Arc<Peer>) -> String {
    let answer = move |UrlPath(path): UrlPath<String>| async move {
        peer.asked.fetch_add(1, Ordering::SeqCst);
        let bundle = peer.bundle.lock().unwrap().clone();
        let bundle = bundle.filter(|bundle| bundle.version.uri.as_str() == path);
        bundle.map(Json).ok_or(StatusCode::NOT_FOUND)
    };
    let router = Router::new().route("/api/schema/{*uri}", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn bundle(minor: u32, text: &str) -> SchemaBundle {
    let mut version = version("shop/1/order", minor);
    let files = vec![ProtoFile { path: "a.proto".into(), text: text.into() }];
    version.digest = bundle::digest(&bundle::encode(b"set", &files, None).unwrap());
    SchemaBundle { version, descriptor_set: Bytes::from_static(b"set"), files, example: None }
}

fn config(address: String) -> Config {
    let peer = PeerConfig { address: Some(address), ..PeerConfig::default() };
    let mut config = Config::default();
    config.peers.insert("peer.example".into(), peer);
    config.foreign.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    config
}

fn foreign(config: &Config) -> Foreign {
    Foreign::new(config, Arc::new(crate::MemoryStore::new())).unwrap()
}

fn order() -> EventUri {
    "peer.example/shop/1/order".parse().unwrap()
}

#[tokio::test]
async fn an_answer_is_kept_and_named_after_its_domain() {
    let peer = Arc::new(Peer::default());
    *peer.bundle.lock().unwrap() = Some(bundle(0, "one"));
    let foreign = foreign(&config(serve(peer.clone()).await));
    for _ in 0..3 {
        let got = foreign.get(&order()).await.unwrap();
        assert_eq!((got.version.uri.clone(), &got.files[0].text), (order(), &"one".to_owned()));
    }
    assert_eq!(peer.asked.load(Ordering::SeqCst), 1);
    *peer.bundle.lock().unwrap() = Some(bundle(1, "two"));
    assert_eq!(foreign.get(&order()).await.unwrap().version.minor, 0);
    assert_eq!(foreign.refresh(&order()).await.unwrap().version.minor, 1);
    assert_eq!(peer.asked.load(Ordering::SeqCst), 2);

    let unknown: EventUri = "peer.example/shop/1/nothing".parse().unwrap();
    for _ in 0..3 {
        let error = foreign.get(&unknown).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownEventType);
    }
    assert_eq!(peer.asked.load(Ordering::SeqCst), 3, "that there is none is kept, too");
    let stranger: EventUri = "other.example/shop/1/order".parse().unwrap();
    let error = foreign.get(&stranger).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownEventType);
    assert!(error.message.contains("schema_registry.peers"), "{error}");
}

#[test]
fn a_contract_follows_the_one_before_it() {
    let (held, next, changed) = (bundle(1, "one"), bundle(2, "two"), bundle(1, "two"));
    assert_eq!(check_pins(&next, None, Some(&held)), Ok(()));
    assert_eq!(check_pins(&held, None, Some(&held)), Ok(()));
    assert!(check_pins(&held, None, Some(&next)).is_err(), "back");
    assert!(check_pins(&changed, None, Some(&held)).is_err(), "another content");
    let pin = hex::encode(held.version.digest).to_uppercase();
    assert_eq!(check_pins(&held, Some(&pin), None), Ok(()));
    assert!(check_pins(&next, Some(&pin), None).is_err(), "not the pinned one");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let peer = Arc::new(Peer::default());
    let mut forged = bundle(0, "one");
    forged.files[0].text.push('!');
    *peer.bundle.lock().unwrap() = Some(forged);
    let foreign = foreign(&config(serve(peer).await));
    assert_eq!(foreign.get(&order()).await.unwrap_err().code, ErrorCode::Internal);
}

#[tokio::test]
async fn the_guard_stands_in_front() {
    let peer = Arc::new(Peer::default());
    *peer.bundle.lock().unwrap() = Some(bundle(0, "one"));
    let mut config = config(serve(peer.clone()).await);
    config.foreign.allowed_networks.clear();
    let error = foreign(&config).get(&order()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("loopback"), "{error}");
    assert_eq!(peer.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_restart_needs_no_peer() {
    let peer = Arc::new(Peer::default());
    *peer.bundle.lock().unwrap() = Some(bundle(1, "one"));
    let (config, store) = (config(serve(peer.clone()).await), Arc::new(crate::MemoryStore::new()));
    let start = |config: &Config| Foreign::new(config, store.clone()).unwrap();
    start(&config).get(&order()).await.unwrap();
    assert_eq!(peer.asked.load(Ordering::SeqCst), 1);

    *peer.bundle.lock().unwrap() = None;
    let again = start(&config);
    assert_eq!(again.get(&order()).await.unwrap().version.minor, 1);
    assert_eq!(peer.asked.load(Ordering::SeqCst), 1, "from the store");
    // What was pinned binds after a restart, too.
    *peer.bundle.lock().unwrap() = Some(bundle(1, "another"));
    let held = start(&config).refresh(&order()).await.unwrap();
    assert_eq!(held.files[0].text, "one", "a minor version never changes");
    *peer.bundle.lock().unwrap() = Some(bundle(2, "two"));
    assert_eq!(start(&config).refresh(&order()).await.unwrap().version.minor, 2);
    *peer.bundle.lock().unwrap() = None;
    assert_eq!(start(&config).get(&order()).await.unwrap().version.minor, 2);

    // A pin of the configuration goes before what was kept.
    let mut config = config;
    let pins = &mut config.peers.get_mut("peer.example").unwrap().pins;
    pins.insert("shop/1/order".into(), hex::encode(bundle(3, "three").version.digest));
    assert!(start(&config).get(&order()).await.is_err());
    assert_eq!(peer.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn every_replica_tells_of_a_publication() {
    let config = config("http://127.0.0.1:9".into());
    let store = Arc::new(crate::MemoryStore::new());
    let replica = || Foreign::new(&config, store.clone()).unwrap();
    let (told, other) = (replica(), replica());
    let silent = [("peer.example".to_owned(), String::new())].into();
    assert_eq!(told.marks().await.unwrap(), silent);
    told.announce("peer.example", Timestamp(7)).await.unwrap();
    told.announce("stranger.example", Timestamp(7)).await.unwrap();
    let spoken = [("peer.example".to_owned(), "7".to_owned())].into();
    assert_eq!(told.marks().await.unwrap(), spoken);
    assert_eq!(other.marks().await.unwrap(), spoken);
}
