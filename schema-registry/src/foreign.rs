//! Contracts of other deployments: asked for over HTTP where their domain is listed, through the
//! address guard, checked against their digest, kept in memory for a while and in the schema store
//! for good.

mod pinned;

use crate::{
    BundleStore, bundle,
    config::{Config, ForeignConfig, PeerConfig},
    lru::Lru,
};
use bytes::Bytes;
use contract::{Error, ErrorCode, Result, schema::SchemaBundle, uri::EventUri};
use egress::GuardedClient;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use pinned::{Marks, split};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// Where a deployment answers if nothing else is said.
const PORT: u16 = 9600;
/// A deployment is not asked twice for the same within this time.
const REFRESH_AFTER_MIN: Duration = Duration::from_millis(200);
/// Most connections to other deployments.
const CONNECTIONS_MAX: usize = 64;
/// What an answer takes in memory beside its bundle, roughly.
const ENTRY_BYTES: usize = 512;

/// What other deployments said.
pub(crate) struct Foreign {
    config: ForeignConfig,
    peers: BTreeMap<String, PeerConfig>,
    client: GuardedClient<Empty<Bytes>>,
    known: Mutex<Lru<EventUri, Known>>,
    /// Keeps the last good answers, and the marks of the peers.
    store: Arc<dyn BundleStore>,
    marks: Mutex<Option<Marks>>,
}

/// An answer, also that there is none.
#[derive(Clone)]
struct Known {
    answer: Result<Arc<SchemaBundle>>,
    /// The last good answer, which pins what may follow.
    pinned: Option<Arc<SchemaBundle>>,
    asked: Instant,
}

impl Foreign {
    /// Errors: `invalid_definition`.
    pub(crate) fn new(config: &Config, store: Arc<dyn BundleStore>) -> Result<Self> {
        let Config { foreign, peers, .. } = config.clone();
        let refuse = |why| Error::new(ErrorCode::InvalidDefinition, format!("`foreign`: {why}"));
        let settings = egress::Settings {
            allowed_networks: foreign.allowed_networks.clone(),
            nameservers: foreign.nameservers.clone(),
            dns_timeout: foreign.timeout.0,
            connect_timeout: foreign.timeout.0,
            connections_max: CONNECTIONS_MAX,
        };
        let client = egress::client(&settings, foreign.extra_ca_file.as_deref()).map_err(refuse)?;
        let known = Mutex::new(Lru::new(foreign.schemas_max, foreign.bytes_max));
        Ok(Self { config: foreign, peers, client, known, store, marks: Mutex::default() })
    }

    /// The contract of a foreign type.
    pub(crate) async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        let peer = self.peer(uri)?;
        let known = self.at_hand(uri, peer).await;
        if let Some(known) = &known {
            let ttl = if known.answer.is_ok() { self.config.ttl } else { self.config.negative_ttl };
            if known.asked.elapsed() < ttl.0 {
                return known.answer.clone();
            }
        }
        self.renew(uri, peer, known).await
    }

    /// An answer that was given after this question. Many such questions are one to the other
    /// side.
    pub(crate) async fn refresh(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        let peer = self.peer(uri)?;
        let before = self.at_hand(uri, peer).await.map(|known| known.asked);
        let now = Instant::now();
        if let Some(asked) = before {
            sleep_until(asked + REFRESH_AFTER_MIN).await;
        }
        let known = self.known().get(uri).cloned();
        match known {
            Some(known) if known.asked >= now => known.answer,
            known => self.renew(uri, peer, known).await,
        }
    }

    fn peer(&self, uri: &EventUri) -> Result<&PeerConfig> {
        let domain = uri.domain().unwrap_or_default();
        self.peers.get(domain).ok_or_else(|| {
            let message = format!("`{domain}` is not among `schema_registry.peers`");
            Error::new(ErrorCode::UnknownEventType, message)
        })
    }

    async fn renew(
        &self,
        uri: &EventUri,
        peer: &PeerConfig,
        known: Option<Known>,
    ) -> Result<Arc<SchemaBundle>> {
        let pinned = known.and_then(|known| known.pinned);
        let asked = Instant::now();
        let fresh = self.ask(peer, uri, pinned.as_deref()).await;
        let answer = match (fresh.map(Arc::new), &pinned) {
            // Who has a contract goes on with it while the other side is away.
            (Err(error), Some(pinned)) if error.code != ErrorCode::UnknownEventType => {
                tracing::warn!(%uri, %error, "cannot refresh a foreign contract");
                Ok(Arc::clone(pinned))
            }
            (answer, _) => answer,
        };
        if let Ok(fresh) = &answer
            && pinned.as_ref().is_none_or(|pinned| pinned.version != fresh.version)
        {
            self.pin(fresh).await;
        }
        let pinned = answer.as_ref().ok().cloned().or(pinned);
        let bytes = pinned.as_deref().map_or(0, size) + ENTRY_BYTES;
        self.known().put(uri.clone(), Known { answer: answer.clone(), pinned, asked }, bytes);
        answer
    }

    async fn ask(
        &self,
        peer: &PeerConfig,
        uri: &EventUri,
        pinned: Option<&SchemaBundle>,
    ) -> Result<SchemaBundle> {
        let (domain, local) = split(uri);
        let base = match &peer.address {
            Some(address) => address.trim_end_matches('/').to_owned(),
            None => format!("https://{domain}:{PORT}"),
        };
        let mut request = Request::get(format!("{base}/api/schema/{local}"))
            .header(header::ACCEPT, "application/json");
        if let Some(key) = &peer.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", key.expose()));
        }
        let away = |why: String| {
            Error::new(ErrorCode::Unavailable, format!("`{domain}` gives no contracts now: {why}"))
        };
        let request = request.body(Empty::new()).map_err(|error| away(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| away(innermost(&e)))?;
            self.read(response).await
        };
        let answer = timeout(self.config.timeout.0, exchange).await;
        let (status, body) = answer.map_err(|_elapsed| away("no answer in time".into()))??;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let message = format!("`{domain}` has no schema of `{local}`");
                return Err(Error::new(ErrorCode::UnknownEventType, message));
            }
            other => return Err(away(format!("it answered {}", other.as_u16()))),
        }
        let mut bundle: SchemaBundle = serde_json::from_slice(&body)
            .map_err(|error| away(format!("its answer cannot be read: {error}")))?;
        if bundle.version.uri.as_str() != local {
            return Err(away(format!("it gave `{}` for `{local}`", bundle.version.uri)));
        }
        bundle.version.uri = uri.clone();
        bundle::verify(&bundle)?;
        check_pins(&bundle, peer.pins.get(local), pinned)?;
        Ok(bundle)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<(StatusCode, Bytes)> {
        let status = response.status();
        let body = Limited::new(response.into_body(), self.config.answer_bytes_max);
        let body = body.collect().await.map_err(|error| {
            let message = format!("the answer of another deployment broke off: {error}");
            Error::new(ErrorCode::Unavailable, message)
        })?;
        Ok((status, body.to_bytes()))
    }

    fn known(&self) -> MutexGuard<'_, Lru<EventUri, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// May this contract follow the one that is held? A minor version never changes and never goes
/// back, and a pin allows one content alone.
fn check_pins(
    bundle: &SchemaBundle,
    pin: Option<&String>,
    held: Option<&SchemaBundle>,
) -> Result<()> {
    let version = &bundle.version;
    let digest = hex::encode(version.digest);
    let refuse = |why: String| {
        let message = format!("the contract of `{}` is refused: {why}", version.uri);
        Err(Error::new(ErrorCode::Unavailable, message))
    };
    if let Some(pin) = pin.filter(|pin| !pin.eq_ignore_ascii_case(&digest)) {
        return refuse(format!("it has the digest {digest}, and {pin} is pinned"));
    }
    let Some(held) = held.map(|held| &held.version) else { return Ok(()) };
    if version.minor < held.minor {
        return refuse(format!("minor version {} follows {}", version.minor, held.minor));
    }
    if version.minor == held.minor && version.digest != held.digest {
        return refuse(format!("minor version {} has changed its content", version.minor));
    }
    Ok(())
}

/// What a bundle takes in memory, roughly.
pub(crate) fn size(bundle: &SchemaBundle) -> usize {
    let files: usize = bundle.files.iter().map(|file| file.path.len() + file.text.len()).sum();
    bundle.descriptor_set.len() + files
}

fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
