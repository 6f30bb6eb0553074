//! A channel to the processes that run a part.

use super::call::Budget;
use crate::config::{ClientConfig, Tls};
use contract::{Error, ErrorCode, Result};
use std::sync::Arc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Trailers with all violations of an event, and room to spare.
const HEADERS_BYTES_MAX: u32 = 1024 * 1024;
/// So much of a body may be under way before the receiver has read any of it.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// The processes that run a part, behind one channel: calls go to those that answer. Connections
/// are made when they are needed, and made again.
#[derive(Clone)]
pub struct Peers {
    pub(super) channel: Channel,
    pub(super) config: ClientConfig,
    pub(super) budget: Arc<Budget>,
    /// What errors call them, with where they were looked for; None: nobody is to know.
    pub(super) name: Option<Arc<str>>,
}

impl Peers {
    /// Peers at `addresses` (`http://host:port`, with `tls` `https://host:port`). Needs a running
    /// tokio. Errors: `invalid_definition` for an address or PEM text that cannot be used.
    pub fn new(addresses: &[String], tls: Option<&Tls>, config: ClientConfig) -> Result<Self> {
        let endpoint = |address: &String| endpoint(address, tls, &config);
        let endpoints = addresses.iter().map(endpoint).collect::<Result<Vec<_>>>()?;
        let channel = match endpoints.as_slice() {
            [] => return Err(invalid("no address is given".to_owned())),
            [one] => one.connect_lazy(),
            // The channel takes in as many at once as its buffer holds, tonic's 1024.
            many if many.len() <= 256 => Channel::balance_list(endpoints.into_iter()),
            many => return Err(invalid(format!("{} addresses; 256 are allowed", many.len()))),
        };
        Ok(Self { channel, config, budget: Arc::default(), name: None })
    }

    /// The same, named in errors when they cannot be reached: for parts that only operators call.
    /// Third parties are not to learn addresses.
    #[must_use]
    pub fn named(self, part: &str, addresses: &[String]) -> Self {
        let name = format!("{part} at {}", addresses.join(", "));
        Self { name: Some(name.into()), ..self }
    }

    /// The channel itself, for the generated clients of the public API.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

fn endpoint(address: &str, tls: Option<&Tls>, config: &ClientConfig) -> Result<Endpoint> {
    let malformed = |why| invalid(format!("`{address}` is no address of a peer: {why}"));
    let scheme = if tls.is_some() { "https://" } else { "http://" };
    if !address.starts_with(scheme) {
        return Err(malformed(format!("it has to start with `{scheme}`")));
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| malformed(error.to_string()))?
        .connect_timeout(config.connect_timeout.0)
        .http2_keep_alive_interval(config.keepalive.0)
        .keep_alive_timeout(config.keepalive_timeout.0)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    let Some(tls) = tls else { return Ok(endpoint) };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&tls.ca))
        .identity(Identity::from_pem(&tls.cert, &tls.key));
    endpoint.tls_config(tls).map_err(|error| malformed(format!("its TLS: {error}")))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidDefinition, message)
}
