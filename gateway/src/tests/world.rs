//! A gateway with a broker that remembers, rules that change, and a clock that a test steps.

use crate::{Config, Gateway, Metrics, Mounts};
use async_trait::async_trait;
use axum::{Router, body::Body};
use contract::{
    Error, Result,
    access::{Actor, ApiKey, Roles, token_digest},
    broker::EventBroker,
    clock::Timestamp,
    event::{Accepted, Disposition, NewEvent},
    id::{EventId, KeyId, SecretId, Sequence},
    rules::Rules,
    secret::Secret,
    source::{Scheme, Source, SourceSpec, Template},
    subscription::SecretRef,
    testing::{ManualClock, SeededRandom},
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use ring::hmac;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

/// When the clock starts.
pub(super) const START_S: i64 = 1_795_000_000;
pub(super) const SECRET: &str = "It's a Secret to Everybody";
pub(super) const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Remembers what it was given, and answers as told.
#[derive(Debug)]
pub(super) struct FakeBroker {
    pub(super) events: Mutex<Vec<NewEvent>>,
    answer: Mutex<Result<Accepted>>,
    /// Each answer takes a pass.
    passes: Semaphore,
    arrived: watch::Sender<usize>,
}

impl FakeBroker {
    fn new() -> Arc<Self> {
        let accepted = Accepted {
            id: EventId::from_bytes([7; 16]),
            deliveries: 2,
            duplicate: false,
            quarantined: false,
        };
        Arc::new(Self {
            events: Mutex::default(),
            answer: Mutex::new(Ok(accepted)),
            passes: Semaphore::new(1_000_000),
            arrived: watch::Sender::new(0),
        })
    }

    pub(super) fn answer(&self, answer: Result<Accepted>) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn last(&self) -> NewEvent {
        self.events.lock().unwrap().last().cloned().expect("an event reached the broker")
    }

    pub(super) fn count(&self) -> usize {
        self.events.lock().unwrap().len()
    }

    /// Lets no answer go until [`Self::release`].
    pub(super) fn hold(&self) {
        self.passes.forget_permits(usize::MAX);
    }

    pub(super) fn release(&self) {
        self.passes.add_permits(1_000_000);
    }

    /// Returns once `count` events have come in all.
    pub(super) async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        soon(arrived.wait_for(|seen| *seen >= count)).await.unwrap();
    }
}

#[async_trait]
impl EventBroker for FakeBroker {
    async fn accept(&self, event: NewEvent) -> Result<Accepted> {
        assert_ne!(event.uri.name(), "panic", "a broker with a bug");
        self.events.lock().unwrap().push(event);
        self.arrived.send_modify(|count| *count += 1);
        self.passes.acquire().await.unwrap().forget();
        self.answer.lock().unwrap().clone()
    }

    async fn resubmit(&self, _: Actor, _: EventId) -> Result<Accepted> {
        Err(Error::internal("the gateway resubmits nothing over HTTP"))
    }
}

/// Waits for something that must happen, with a deadline.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.expect("it happens before the deadline")
}

pub(super) struct World {
    pub(super) broker: Arc<FakeBroker>,
    pub(super) rules: watch::Sender<Arc<Rules>>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) registry: Registry,
}

/// Headers of a request.
pub(super) type Given<'a> = &'a [(&'a str, &'a str)];

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) text: String,
}

impl Answer {
    /// A refusal has the form of RFC 9457, with this status and code; the detail is returned.
    #[track_caller]
    pub(super) fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!((&self.json["status"], &self.json["code"]), (&status.into(), &code.into()));
        assert_eq!(self.json["type"], "about:blank");
        assert!(self.json["title"].is_string());
        self.json["detail"].as_str().expect("a detail")
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let broker = FakeBroker::new();
        let clock = ManualClock::new(Timestamp(START_S * 1_000_000));
        let rules = watch::Sender::new(Arc::new(rules()));
        let mut registry = Registry::default();
        let gateway = Gateway::new(
            config,
            Arc::clone(&broker) as _,
            rules.subscribe(),
            Arc::clone(&clock) as _,
            SeededRandom::new(1),
            Metrics::new(&mut registry),
        );
        Self { broker, rules, clock, gateway: Arc::new(gateway), registry }
    }

    pub(super) fn router(&self) -> Router {
        Arc::clone(&self.gateway).router(Mounts::default())
    }

    pub(super) async fn post(
        &self,
        path: &str,
        headers: Given<'_>,
        body: impl Into<Body>,
    ) -> Answer {
        let request = headers
            .iter()
            .fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
        send(self.router(), request.body(body.into()).unwrap()).await
    }

    /// Posts JSON to a source that asks for no proof.
    pub(super) async fn post_open(&self, body: &'static str) -> Answer {
        self.post("/events/open", &[("content-type", "application/json")], body).await
    }

    /// Posts a webhook signed as GitHub does.
    pub(super) async fn post_github(&self, secret: &str, body: &str) -> Answer {
        let signature = github_signature(secret, body.as_bytes());
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-hub-signature-256", &signature),
        ];
        self.post("/events/github", &headers, body.to_owned()).await
    }

    pub(super) fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(|rules| {
            let mut next = Rules::clone(rules);
            change(&mut next);
            next.sequence.0 += 1;
            *rules = Arc::new(next);
        });
    }
}

pub(super) async fn send(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status: head.status, headers: head.headers, json, text }
}

pub(super) fn github_signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

pub(super) fn unavailable() -> Error {
    Error::new(contract::ErrorCode::Unavailable, "the store is full")
}

/// A source and its secrets, in the rules.
pub(super) fn put_source(rules: &mut Rules, spec: SourceSpec, secrets: &[&str]) {
    let refs = secrets.iter().map(|text| {
        let secret = Secret::new(*text);
        let number = u8::try_from(rules.secrets.len()).unwrap() + 1;
        let id = SecretId::from_bytes([number; 16]);
        let fingerprint = secret.fingerprint();
        rules.secrets.insert(id, secret);
        SecretRef { id, fingerprint, until: None, public_key: None }
    });
    let secrets = refs.collect();
    rules.sources.insert(spec.name.clone(), Arc::new(Source { spec, secrets }));
}

pub(super) fn source(name: &str, verify: Scheme, event_type: &str) -> SourceSpec {
    SourceSpec::new(name, verify, event_type)
}

fn put_key(rules: &mut Rules, name: &str, roles: &[&str], subscriber: Option<&str>) {
    let token_sha256 = token_digest(&Secret::new(name));
    let key = ApiKey {
        id: KeyId::from_bytes([u8::try_from(rules.keys.len()).unwrap() + 1; 16]),
        name: name.to_owned(),
        prefix: name.to_owned(),
        token_sha256: token_sha256.clone(),
        roles: Roles::parse(roles.iter().copied()).unwrap(),
        subscriber: subscriber.map(str::to_owned),
        created_at: Timestamp(0),
        expires_at: Some(Timestamp((START_S + 3600) * 1_000_000)),
    };
    rules.keys.insert(token_sha256, Arc::new(key));
}

/// A key's token is its name.
fn rules() -> Rules {
    let mut rules = Rules { sequence: Sequence(1), ..Rules::default() };
    let github = source("github", Scheme::Github, "github/1/{header:x-github-event}");
    put_source(&mut rules, github, &[SECRET, "the next secret"]);
    let standard = source("standard", Scheme::StandardWebhooks, "standard/1/{json:type}");
    put_source(&mut rules, standard, &[WEBHOOK_SECRET]);
    let mut open = source("open", Scheme::None, "open/1/{json:type}");
    open.idempotency_key = Some(Template("{json:id}".to_owned()));
    put_source(&mut rules, open, &[]);
    let mut tenant = source("tenant", Scheme::None, "{json:uri}");
    tenant.subscriber = Some("org_1".to_owned());
    tenant.invalid = Disposition::Quarantine;
    tenant.unvalidated = Disposition::Accept;
    tenant.body_bytes_max = Some(1000);
    put_source(&mut rules, tenant, &[]);
    put_source(&mut rules, source("broken", Scheme::Github, "broken/1/x"), &[]);
    put_key(&mut rules, "producer", &["producer"], None);
    put_key(&mut rules, "reader", &["events:read"], None);
    put_key(&mut rules, "scoped", &["producer"], Some("org_1"));
    rules
}
