//! The exchange with the endpoint: one request, one answer, one time limit.

use crate::{
    auth::TlsIdentity,
    config::Config,
    keep::Keeper,
    outcome::{self, Failure, Outcome},
    retry_after,
};
use bytes::Bytes;
use contract::{
    clock::Clock, delivery::Cause, exchange::ExchangeRecord, limits::RESPONSE_BODY_BYTES_MAX,
};
use egress::{DialError, Dialled, Dialler};
use http::{Extensions, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};

/// Largest head of an answer in bytes.
const RESPONSE_HEAD_BYTES_MAX: u32 = 64 * 1024;

/// Most TLS identities whose connections are kept; beyond that all of them are made anew.
const IDENTITIES_MAX: usize = 1024;

type HttpClient = Client<HttpsConnector<Dialler>, Full<Bytes>>;

/// Sends requests. It follows no redirect, knows no proxy and keeps no cookie.
#[derive(Debug)]
pub(crate) struct Deliverer {
    /// For all that show no certificate.
    client: HttpClient,
    /// One each for those who do, so that nobody's request goes over a connection on which another
    /// has shown who they are.
    identified: Mutex<HashMap<TlsIdentity, HttpClient>>,
    pool: Pool,
    dialler: Dialler,
    clock: Arc<dyn Clock>,
    keeper: Keeper,
}

impl Deliverer {
    /// A deliverer with the limits of `config`. A sentence if it cannot be made so.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let dialler = Dialler::new(&config.egress())?;
        let pool = Pool {
            idle_timeout: config.idle_timeout.0,
            idle_max_per_host: config.idle_connections_max_per_host,
            extra_ca: config.extra_ca_file.clone(),
        };
        let tls = egress::client_config(pool.extra_ca.as_deref())?;
        Ok(Self {
            client: pool.client(tls, dialler.clone()),
            identified: Mutex::default(),
            pool,
            dialler,
            clock,
            keeper: Keeper::new(config),
        })
    }

    /// The connections of `identity`.
    fn client(&self, identity: Option<&TlsIdentity>) -> Result<HttpClient, Failure> {
        let Some(identity) = identity else { return Ok(self.client.clone()) };
        let mut all = self.identified.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = all.get(identity) {
            return Ok(client.clone());
        }
        let tls = egress::client_config_as(&identity.identity, self.pool.extra_ca.as_deref());
        let tls = tls.map_err(|why| Failure::new(Cause::Misconfigured, why))?;
        let client = self.pool.client(tls, self.dialler.clone());
        if all.len() >= IDENTITIES_MAX {
            all.clear();
        }
        all.insert(identity.clone(), client.clone());
        Ok(client)
    }

    /// Waits a while for room for one more connection.
    pub(crate) async fn room(&self) {
        self.dialler.room().await;
    }

    /// What is kept of exchanges.
    pub(crate) const fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Makes the request and waits for the whole answer, which is added to `record`, until the
    /// deadline, which is `limit` after the attempt began. None: nobody was asked, because all our
    /// connections are in use.
    pub(crate) async fn deliver(
        &self,
        identity: Option<&TlsIdentity>,
        mut request: Request<Full<Bytes>>,
        (deadline, limit): (Instant, Duration),
        record: Option<Box<ExchangeRecord>>,
    ) -> Option<Outcome> {
        let client = match self.client(identity) {
            Ok(client) => client,
            Err(failure) => return Some(Outcome::unsent(failure)),
        };
        let connection = capture_connection(&mut request);
        let mut outcome = match timeout_at(deadline, client.request(request)).await {
            Ok(Ok(response)) => self.judge(response, (deadline, limit), record).await,
            Ok(Err(error)) if matches!(outcome::find(&error), Some(DialError::Full)) => {
                return None;
            }
            Ok(Err(error)) => Outcome { exchange: record, ..failed(&error, &connection) },
            Err(_elapsed) => Outcome { exchange: record, ..Outcome::unsent(too_slow(limit)) },
        };
        outcome.address = outcome.address.or_else(|| dialled(&connection));
        // Without a connection, nothing went over a wire.
        if outcome.address.is_none()
            || outcome.failure.as_ref().is_some_and(Failure::is_of_dialling)
        {
            outcome.exchange = None;
        }
        Some(outcome)
    }

    /// A failure by status stays one whatever its body does; a success needs its whole body.
    async fn judge(
        &self,
        response: Response<Incoming>,
        (deadline, limit): (Instant, Duration),
        mut record: Option<Box<ExchangeRecord>>,
    ) -> Outcome {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| retry_after::parse(value.to_str().ok()?, self.clock.now()));
        if let Some(record) = &mut record {
            record.response_headers = self.keeper.response_headers(response.headers());
        }
        let mut body = Vec::new();
        let read = timeout_at(deadline, read(response.into_body(), &mut body)).await;
        let broken = match read {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_elapsed) => Some(too_slow(limit)),
        };
        if let Some(record) = &mut record {
            let (kept, cut) = self.keeper.body(&body);
            (record.response_body, record.response_cut) = (kept, cut || broken.is_some());
        }
        Outcome {
            status: Some(status.as_u16()),
            failure: outcome::of_status(status).or(broken),
            exchange: record,
            retry_after,
            ..Outcome::default()
        }
    }
}

/// How connections are kept.
#[derive(Debug)]
struct Pool {
    idle_timeout: Duration,
    idle_max_per_host: usize,
    extra_ca: Option<PathBuf>,
}

impl Pool {
    fn client(&self, tls: rustls::ClientConfig, dialler: Dialler) -> HttpClient {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(dialler);
        Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.idle_max_per_host)
            .http1_max_buf_size(usize::try_from(RESPONSE_HEAD_BYTES_MAX).unwrap_or(usize::MAX))
            .http2_max_header_list_size(RESPONSE_HEAD_BYTES_MAX)
            .build(connector)
    }
}

/// Reads the body to its end or to the bound.
async fn read(mut incoming: Incoming, body: &mut Vec<u8>) -> Result<(), Failure> {
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| outcome::of_error(&error, true))?;
        let Some(data) = frame.data_ref() else { continue };
        let room = RESPONSE_BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            let why = format!("the body of the answer exceeds {RESPONSE_BODY_BYTES_MAX} bytes");
            return Err(Failure::new(Cause::BadResponse, why));
        }
    }
    Ok(())
}

fn failed(error: &Error, connection: &CaptureConnection) -> Outcome {
    let address = outcome::find::<DialError>(error)
        .and_then(DialError::address)
        .or_else(|| dialled(connection));
    Outcome { address, ..Outcome::unsent(outcome::of_error(error, !error.is_connect())) }
}

fn too_slow(limit: Duration) -> Failure {
    Failure::new(Cause::Timeout, format!("no complete answer within {limit:?}"))
}

fn dialled(connection: &CaptureConnection) -> Option<String> {
    let mut extensions = Extensions::new();
    connection.connection_metadata().as_ref()?.get_extras(&mut extensions);
    extensions.get::<Dialled>().map(|Dialled(address)| address.to_string())
}
