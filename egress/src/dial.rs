//! Resolve, let the guard decide, dial the address it has checked.
//!
//! Each open connection holds one of our permits. Waiting for one is our own affair: it happens
//! before an attempt begins, and an attempt that finds none has not been made.

use crate::{
    guard::{Guard, Refusal},
    resolve::Names,
};
use futures_util::{FutureExt, future::select_ok};
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use ipnet::IpNet;
use std::{
    fmt,
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use url::Host;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Head start of each address over the next one (RFC 8305, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);
/// How long an attempt waits before it begins, while all connections are in use.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// All our connections are in use: nobody was dialled.
    #[error("all connections are in use")]
    Full,
    /// The URL names no host.
    #[error("the URL names no host")]
    NoHost,
    /// The name could not be resolved.
    #[error("`{name}` could not be resolved: {why}")]
    Dns {
        /// The name.
        name: String,
        /// Why not.
        why: String,
    },
    /// The guard refused all addresses; this is the first.
    #[error("the address {address} is not allowed: {refusal}")]
    Refused {
        /// The address.
        address: IpAddr,
        /// Why not.
        refusal: Refusal,
    },
    /// No address took the connection; this is the first.
    #[error("no connection to {address}: {why}")]
    Failed {
        /// The address.
        address: SocketAddr,
        /// Why not.
        why: io::Error,
    },
    /// No address answered; this is the first.
    #[error("no connection to {address} within {limit:?}")]
    Slow {
        /// The address.
        address: SocketAddr,
        /// How long was waited.
        limit: Duration,
    },
}

impl DialError {
    /// The address that it is about.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Full | Self::NoHost | Self::Dns { .. } => None,
            Self::Refused { address, .. } => Some(address.to_string()),
            Self::Failed { address, .. } | Self::Slow { address, .. } => Some(address.to_string()),
        }
    }
}

/// What a dialler may do, and how long it may take.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks that may be reached although they are special, and by plain `http`.
    pub allowed_networks: Vec<IpNet>,
    /// Name servers to ask; the system's when empty.
    pub nameservers: Vec<SocketAddr>,
    /// Time limit for resolving a name.
    pub dns_timeout: Duration,
    /// Time limit for a connection.
    pub connect_timeout: Duration,
    /// Most open connections, in use and idle.
    pub connections_max: usize,
}

/// The address at the other end of a connection, as an extension of [`Connected`].
#[derive(Debug, Clone, Copy)]
pub struct Dialled(pub SocketAddr);

/// Makes connections; a `Service<Uri>` for the HTTP client.
#[derive(Clone)]
pub struct Dialler(Arc<Inner>);

struct Inner {
    names: Names,
    guard: Guard,
    limit: Duration,
    connections_max: usize,
    free: Arc<Semaphore>,
}

impl Dialler {
    /// A dialler with the guard and the limits of `settings`. A sentence if it cannot be made so.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let connections_max = settings.connections_max.min(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            names: Names::new(settings)?,
            guard: Guard::new(settings.allowed_networks.clone()),
            limit: settings.connect_timeout,
            connections_max,
            free: Arc::new(Semaphore::new(connections_max)),
        })))
    }

    /// Waits a while for room for one more connection. Without any, an attempt may still find an
    /// idle connection to its endpoint.
    pub async fn room(&self) {
        if self.0.free.available_permits() == 0 {
            drop(timeout(ROOM_WAIT, self.0.free.acquire()).await);
        }
    }
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("free", &self.0.free).finish_non_exhaustive()
    }
}

impl tower::Service<Uri> for Dialler {
    type Response = Stream;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.dial(&uri).await })
    }
}

impl Inner {
    async fn dial(&self, uri: &Uri) -> Result<Stream, DialError> {
        let addresses = self.allowed_addresses(uri).await?;
        let first = *addresses.first().ok_or(DialError::NoHost)?;
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_none| DialError::Full)?;
        // At most half of the permits are ever held by connections that may become idle. The
        // other half comes back with the attempts that hold it.
        let kept = self.free.available_permits() >= self.connections_max / 2;
        let connect = async {
            let (stream, address) = connect_to_first(&addresses).await?;
            stream.set_nodelay(true)?;
            Ok(Stream { io: TokioIo::new(stream), address, kept, _permit: permit })
        };
        match timeout(self.limit, connect).await {
            Ok(connected) => {
                connected.map_err(|why: io::Error| DialError::Failed { address: first, why })
            }
            Err(_elapsed) => Err(DialError::Slow { address: first, limit: self.limit }),
        }
    }

    /// The addresses of the URL's host that the guard lets pass.
    async fn allowed_addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, DialError> {
        let plain = uri.scheme_str() != Some("https");
        let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let host = uri.host().ok_or(DialError::NoHost)?;
        // An address in the URL never reaches a resolver, so it is recognised here, in any of its
        // spellings.
        let found = match Host::parse(host) {
            Ok(Host::Ipv4(address)) => vec![address.into()],
            Ok(Host::Ipv6(address)) => vec![address.into()],
            Ok(Host::Domain(name)) => {
                let found = self.names.resolve(&name).await;
                found.map_err(|why| DialError::Dns { name, why })?
            }
            Err(_) => return Err(DialError::NoHost),
        };
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in found {
            match self.guard.check(address, plain) {
                Ok(address) => allowed.push(SocketAddr::new(address, port)),
                Err(refusal) => refused = refused.or(Some((address, refusal))),
            }
        }
        allowed.truncate(ADDRESSES_MAX);
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((address, refusal))) => Err(DialError::Refused { address, refusal }),
            (true, None) => {
                Err(DialError::Dns { name: host.to_owned(), why: "it has no address".to_owned() })
            }
        }
    }
}

/// Dials all, each a little after the one before, and takes whichever answers first.
async fn connect_to_first(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut delay = Duration::ZERO;
    let dials = addresses.iter().map(|address| {
        let head_start = delay;
        delay += HEAD_START;
        async move {
            if !head_start.is_zero() {
                sleep(head_start).await;
            }
            TcpStream::connect(address).await.map(|stream| (stream, *address))
        }
        .boxed()
    });
    select_ok(dials).await.map(|(connected, _others)| connected)
}

/// A TCP connection that knows whom it was made to and counts as open until it is dropped.
#[derive(Debug)]
pub struct Stream {
    io: TokioIo<TcpStream>,
    address: SocketAddr,
    /// It may serve again after its first request.
    kept: bool,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Dialled(self.address));
        if !self.kept {
            // The pool drops it after its request.
            connected.poison();
        }
        connected
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}
