//! Receivers: a polite one, and a raw one that does whatever a test wants.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Answer = dyn Fn(usize) -> Response + Send + Sync;

/// An axum server that keeps what it receives.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    /// Requests are answered while this is open.
    gate: watch::Sender<bool>,
    answer: Box<Answer>,
}

impl Receiver {
    /// Answers the n-th request (from 1) with `answer(n)`.
    pub(crate) async fn start(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let inner = Arc::new(Inner {
            received: Mutex::default(),
            count: watch::Sender::new(0),
            gate: watch::Sender::new(true),
            answer: Box::new(answer),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner }
    }

    /// Always answers with this status.
    pub(crate) async fn answering(status: u16) -> Self {
        Self::start(move |_| StatusCode::from_u16(status).unwrap().into_response()).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    /// Holds back all answers, or lets them go.
    pub(crate) fn hold(&self, hold: bool) {
        self.inner.gate.send_replace(!hold);
    }

    /// Waits for the `count`-th request.
    pub(crate) async fn until_received(&self, count: usize) {
        let mut counts = self.inner.count.subscribe();
        let wait = counts.wait_for(|received| *received >= count);
        timeout(Duration::from_secs(20), wait).await.expect("a request").unwrap();
    }
}

async fn receive(
    State(inner): State<Arc<Inner>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let number = {
        let mut received = inner.received.lock().unwrap();
        received.push(Received { method, uri, headers, body });
        received.len()
    };
    inner.count.send_replace(number);
    inner.gate.subscribe().wait_for(|open| *open).await.unwrap();
    (inner.answer)(number)
}

/// A server that reads a request and then does what `then` says with the connection.
pub(crate) async fn raw<F>(then: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            tokio::spawn(then(stream));
        }
    });
    address
}

/// Reads until the body of a delivery has come.
async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.windows(9).any(|end| end == b"spacing\"}") {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Writes, and does not mind that the other side has gone.
pub(crate) async fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok()
}
