//! The server goes away under load and comes back, or hangs and goes on: whoever asks is told so at
//! once, and afterwards everything goes on by itself, with all that was acknowledged, each once.
//!
//! `CERTES_OUTAGE_SECONDS` says for how long (`cargo xtask soak outage`: a minute).

use super::{PUSH, replica, running, verified};

use http::StatusCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{Deployment, Subscriber, eventually, github};
use xtask::postgres::Server;

/// Senders at each replica.
const SENDERS: usize = 8;
/// Answers that are waited for before and after.
const SOME: usize = 60;
/// A refusal takes no longer, once it is known that the server is gone.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// What the process may grow by while the server is gone.
const GROWTH_KIB_MAX: usize = 64 << 10;

/// What the senders have seen.
#[derive(Default)]
struct Seen {
    /// Id of the event by the key that it was sent with.
    acknowledged: Mutex<BTreeMap<String, String>>,
    refused: AtomicUsize,
    /// The server is known to be gone.
    gone: AtomicBool,
    done: AtomicBool,
}

impl Seen {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    async fn some_more(&self) {
        let before = self.count();
        eventually("more events are acknowledged", async || {
            (self.count() >= before + SOME).then_some(())
        })
        .await;
    }

    /// Sends one event after the other, each until it is acknowledged.
    async fn send(self: Arc<Self>, http: String, sender: String) {
        for n in 0.. {
            let key = format!("{sender}-{n}");
            loop {
                let (known, begun) = (self.gone.load(Ordering::SeqCst), Instant::now());
                let answer = github(&http, "push", &key, PUSH).await.unwrap();
                if answer.status == StatusCode::ACCEPTED {
                    self.acknowledged.lock().unwrap().insert(key, answer.id());
                    break;
                }
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                assert_eq!(answer.json()["code"], "unavailable");
                assert!(!known || begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
                self.refused.fetch_add(1, Ordering::SeqCst);
                // A sender that is refused does not come back at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if self.done.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

/// How the server goes away.
#[derive(Clone, Copy)]
enum Outage {
    /// It ends, and refuses connections.
    Crash,
    /// It keeps its connections, and says nothing.
    Hang,
}

impl Outage {
    fn begin(self, server: &Server) {
        match self {
            Self::Crash => server.crash().unwrap(),
            Self::Hang => server.freeze().unwrap(),
        }
    }

    fn end(self, server: &Server) {
        match self {
            Self::Crash => server.start(&[]).unwrap(),
            Self::Hang => server.thaw().unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_finds_everything_as_it_was_acknowledged() {
    without_loss(Outage::Crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_and_goes_on_finds_everything_as_it_was_acknowledged() {
    without_loss(Outage::Hang).await;
}

async fn without_loss(how: Outage) {
    let seconds = std::env::var("CERTES_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let outage = Duration::from_secs(seconds.unwrap_or(3));
    let (server, subscriber) = (running(), Subscriber::start().await.unwrap());
    let replicas = [replica(&server).await, replica(&server).await];
    let manifest = format!(
        "sources:\n  - {{name: github, verify: github, secret: {{env: GITHUB_SECRET}},\n     \
         event_type: \"github/1/{{header:x-github-event}}\", unvalidated: accept}}\n\
         subscriptions:\n  - {{name: ci, url: \"{}\", events: [\"github/1/*\"], \
         secret: {{env: SIGNING_SECRET}}, backoff: {{kind: constant, base: 500ms, jitter: none, \
         max_retries: 1000}}}}\n",
        subscriber.url()
    );
    replicas[0].apply(&manifest).await.unwrap();
    for replica in &replicas {
        eventually("the source is known", async || {
            let answer = github(&replica.http, "push", "first", PUSH).await.unwrap();
            (answer.status == StatusCode::ACCEPTED).then_some(())
        })
        .await;
    }
    let seen = Arc::new(Seen::default());
    let senders: Vec<_> = (0..SENDERS * replicas.len())
        .map(|n| {
            let http = replicas[n % replicas.len()].http.clone();
            tokio::spawn(seen.clone().send(http, format!("sender-{n}")))
        })
        .collect();
    seen.some_more().await;

    tokio::task::block_in_place(|| how.begin(&server));
    for replica in &replicas {
        assert_eq!(not_ready(replica).await, "the state database does not answer");
    }
    seen.gone.store(true, Ordering::SeqCst);
    let (refused, memory) = (seen.refused.load(Ordering::SeqCst), resident_kib());
    tokio::time::sleep(outage).await;
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < GROWTH_KIB_MAX, "grown by {grown} KiB in {outage:?}");
    assert!(seen.refused.load(Ordering::SeqCst) > refused, "nobody asked meanwhile");
    seen.gone.store(false, Ordering::SeqCst);
    tokio::task::block_in_place(|| how.end(&server));

    for replica in &replicas {
        eventually("it is ready again", async || replica.is_ready().await.ok()?.then_some(()))
            .await;
    }
    seen.some_more().await;
    seen.done.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_whole(&seen, &replicas).await;
    let received = subscriber.received();
    let ids: BTreeSet<_> = received.iter().map(|got| got.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), seen.count() + 1, "each is delivered, and nothing else");
    for replica in replicas {
        replica.stop().await.unwrap();
    }
    verified(&server).await;
}

/// Each that was acknowledged is there once, also after it is sent again.
async fn assert_whole(seen: &Seen, replicas: &[Deployment; 2]) {
    let acknowledged = seen.acknowledged.lock().unwrap().clone();
    for (n, (key, id)) in acknowledged.iter().enumerate() {
        let again = github(&replicas[n % 2].http, "push", key, PUSH).await.unwrap();
        assert_eq!((again.status, again.id()), (StatusCode::ACCEPTED, id.clone()), "{key}");
        assert_eq!(again.headers["certes-duplicate"], "true");
    }
    let distinct: BTreeSet<_> = acknowledged.values().collect();
    assert_eq!(distinct.len(), acknowledged.len(), "each key has an event of its own");
    for replica in replicas {
        let all = acknowledged.len() + 1;
        eventually("all are delivered, and no more", async || {
            let stats = replica.graphql("{ stats { accepted delivered waiting } }").await.ok()?;
            let wanted = serde_json::json!({"accepted": all, "delivered": all, "waiting": 0});
            (stats["stats"] == wanted).then_some(())
        })
        .await;
    }
}

/// Waits until it says that it is not ready; gives the reason.
async fn not_ready(replica: &Deployment) -> String {
    eventually("it says that it is not ready", async || {
        let health = replica.health().await.unwrap();
        let reasons = health.json()["reasons"].as_array().cloned().unwrap_or_default();
        let reason = reasons.first()?.as_str()?.to_owned();
        assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
        Some(reason)
    })
    .await
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
