//! The accept loop: connections with limits on everything a client can hold, and a graceful end.

use crate::{linger, socket::Socket};
use axum::{Router, body::Body, extract::ConnectInfo};
use contract::backoff::Span;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use serde::{Deserialize, Serialize};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Bounds of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections; more wait in the kernel's backlog. Default 10,000.
    pub connections_max: usize,
    /// Time for the first bytes after a connection is made. Default 10 s.
    pub opening_timeout: Span,
    /// Time for a whole HTTP/1 request head, and how long a connection may idle between two
    /// requests. Default 30 s.
    pub head_timeout: Span,
    /// Time in which the peer must take some of what is written to it. Default 30 s.
    pub stall_timeout: Span,
    /// How long a refused body is read on, so that its sender sees the answer. Default 2 s.
    pub linger_timeout: Span,
    /// Requests at once on one HTTP/2 connection. Default 256.
    pub http2_streams_max: u32,
    /// How often an HTTP/2 peer is asked for a sign of life; it has the same time to give one.
    /// Default 20 s.
    pub http2_ping_interval: Span,
    /// Largest HTTP/1 request head in bytes, and largest header list of HTTP/2. Default 64 KiB.
    pub head_bytes_max: u32,
    /// Time for requests in work when the server stops. Default 10 s.
    pub drain_timeout: Span,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = |count| Span(Duration::from_secs(count));
        Self {
            connections_max: 10_000,
            opening_timeout: seconds(10),
            head_timeout: seconds(30),
            stall_timeout: seconds(30),
            linger_timeout: seconds(2),
            http2_streams_max: 256,
            http2_ping_interval: seconds(20),
            head_bytes_max: 64 * 1024,
            drain_timeout: seconds(10),
        }
    }
}

/// Pause after the system refused a connection, as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener`, HTTP/1 and HTTP/2, until `stop`; then takes no more connections,
/// lets requests in work finish, and cuts what is left at the deadline.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let builder = builder(&limits);
    let slots = limits.connections_max.clamp(1, Semaphore::MAX_PERMITS);
    let slots = Arc::new(Semaphore::new(slots));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer, slot) = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (opening, stall) = (limits.opening_timeout.0, limits.stall_timeout.0);
        let socket = TokioIo::new(Socket::new(stream, opening, stall, slot));
        let (router, patience) = (router.clone(), limits.linger_timeout.0);
        let service = service_fn(move |request: Request<Incoming>| {
            router.clone().oneshot(prepare(request, peer, patience))
        });
        let connection = builder.serve_connection_with_upgrades(socket, service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, %peer, "connection ended early");
            }
        });
    }
    drop(listener);
    let open = graceful.count();
    tracing::info!(%address, open, "listener stopped, draining");
    if tokio::time::timeout(limits.drain_timeout.0, graceful.shutdown()).await.is_err() {
        tracing::warn!(%address, "drain took too long, remaining connections are cut");
    }
    connections.shutdown().await;
    Ok(())
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let head_bytes = usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout.0)
        // hyper panics below 8 KiB.
        .max_buf_size(head_bytes.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.http2_ping_interval.0)
        .keep_alive_timeout(limits.http2_ping_interval.0)
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(limits.head_bytes_max)
        .enable_connect_protocol();
    builder
}

/// The next connection, once there is a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        // The semaphore is never closed: the error cannot come, and waiting is right if it did.
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, %peer, "no-delay cannot be set");
                }
                return (stream, peer, slot);
            }
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn prepare(request: Request<Incoming>, peer: SocketAddr, patience: Duration) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(ConnectInfo(peer));
    let body = linger::body(body, head.version, &head.headers, patience);
    Request::from_parts(head, body)
}
