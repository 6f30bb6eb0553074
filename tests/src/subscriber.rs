//! A subscriber's endpoint that remembers what it got, and answers as a story wants.

use anyhow::Result;
use axum::{Router, extract::State, response::IntoResponse, routing::post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::TcpListener;

/// A request that the endpoint got.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was answered.
    pub answered: StatusCode,
}

impl Received {
    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

type Behaviour = Arc<dyn Fn(usize) -> StatusCode + Send + Sync>;

/// The endpoint. It answers request `n` (from 0) as its behaviour says, with a cookie and, unless
/// that is 204, the text `answer n`.
#[derive(Clone)]
pub struct Subscriber {
    address: SocketAddr,
    arrived: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<Received>>>,
    behaviour: Behaviour,
}

impl Subscriber {
    /// One that answers 204.
    pub async fn start() -> Result<Self> {
        Self::behaving(|_n| StatusCode::NO_CONTENT).await
    }

    /// One that behaves like this.
    pub async fn behaving(
        behaviour: impl Fn(usize) -> StatusCode + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let subscriber = Self {
            address,
            arrived: Arc::default(),
            received: Arc::default(),
            behaviour: Arc::new(behaviour),
        };
        let router = Router::new().route("/hook", post(receive)).with_state(subscriber.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(subscriber)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it got so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has got at least `count` requests.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        crate::eventually(&format!("the subscriber got {count} requests"), async || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
        .await
    }
}

async fn receive(
    State(subscriber): State<Subscriber>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let n = subscriber.arrived.fetch_add(1, Ordering::SeqCst);
    // A behaviour may hold its answer back: not on a thread that others need.
    let behaviour = subscriber.behaviour.clone();
    let answered = tokio::task::spawn_blocking(move || behaviour(n)).await;
    let answered = answered.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut received = subscriber.received.lock().unwrap_or_else(PoisonError::into_inner);
    received.push(Received { headers, body, answered });
    let said = match answered {
        StatusCode::NO_CONTENT => String::new(),
        _ => format!("answer {n}"),
    };
    (answered, [("set-cookie", "session=of-the-subscriber")], said)
}
