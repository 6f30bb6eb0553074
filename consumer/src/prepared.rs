//! What is made once for a subscription and used for each of its attempts.

use crate::{
    auth::{self, Proof},
    config::Config,
    headers,
    sign::Signer,
    transform::Transform,
};
use contract::{
    id::SubscriptionNumber,
    rules::{Rules, RulesReceiver},
    sending::PayloadFormat,
    setting::DELIVERY_TIMEOUT,
    stamp::StampKey,
    subscription::Subscription,
};
use http::{HeaderMap, Uri};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use url::Url;

/// Most subscriptions that are held prepared; beyond that they are prepared anew.
const PREPARED_MAX: usize = 16 * 1024;

/// A subscription, ready to be delivered to.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) uri: Uri,
    /// What it adds to each delivery.
    pub(crate) headers: HeaderMap,
    pub(crate) proof: Proof,
    pub(crate) format: PayloadFormat,
    pub(crate) signer: Signer,
    pub(crate) timeout: Duration,
    /// What makes the body; None: the payload is sent as it came.
    pub(crate) transform: Option<Transform>,
}

impl Prepared {
    fn new(subscription: &Subscription, rules: &Rules, config: &Config) -> Result<Self, String> {
        let spec = &subscription.spec;
        let (uri, proof) = match spec.pull {
            // Nothing is dialled, and whoever takes a delivery has proved who they are.
            true => (Uri::from_static("/"), Proof::Signatures),
            false => endpoint(subscription, rules)?,
        };
        Ok(Self {
            uri,
            headers: headers::custom(&spec.headers),
            proof,
            format: subscription.spec.format,
            signer: Signer::new(rules.secrets_with_time(&subscription.secrets))?,
            timeout: config
                .attempt_timeout(spec.timeout_ms, rules.settings.duration(DELIVERY_TIMEOUT)),
            transform: spec.transform.as_deref().map(Transform::compile).transpose()?,
        })
    }
}

/// Where the deliveries of a subscription go, and what proves there who sends.
fn endpoint(subscription: &Subscription, rules: &Rules) -> Result<(Uri, Proof), String> {
    // The parser of the URL standard settles every spelling of an address: 0x7f.1 is 127.0.0.1.
    let mut url = Url::parse(&subscription.spec.url).map_err(|e| format!("its URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its URL is neither http nor https".to_owned());
    }
    let proof = auth::proof(subscription, &url, rules)?;
    // Cannot fail for http and https, and a URL that kept them would be refused just below.
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| "its URL has no host".to_owned())?;
    url.set_fragment(None);
    Ok((Uri::try_from(url.as_str()).map_err(|e| format!("its URL: {e}"))?, proof))
}

/// The rules in force, with all that was prepared under them.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) rules: Arc<Rules>,
    pub(crate) stamp_keys: Vec<StampKey>,
    prepared: Mutex<HashMap<SubscriptionNumber, Arc<Result<Prepared, String>>>>,
}

impl Snapshot {
    fn new(rules: Arc<Rules>) -> Self {
        Self { stamp_keys: rules.stamp_keys(), rules, prepared: Mutex::default() }
    }

    /// The subscription, prepared, or a sentence on why nothing can be delivered to it.
    pub(crate) fn prepared(
        &self,
        subscription: &Subscription,
        config: &Config,
    ) -> Arc<Result<Prepared, String>> {
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prepared) = all.get(&subscription.number) {
            return Arc::clone(prepared);
        }
        let prepared = Arc::new(Prepared::new(subscription, &self.rules, config));
        if all.len() >= PREPARED_MAX {
            all.clear();
        }
        all.insert(subscription.number, Arc::clone(&prepared));
        prepared
    }
}

/// The newest [`Snapshot`].
#[derive(Debug)]
pub(crate) struct Snapshots {
    rules: RulesReceiver,
    newest: Mutex<Arc<Snapshot>>,
}

impl Snapshots {
    /// Follows `rules`.
    pub(crate) fn new(rules: RulesReceiver) -> Self {
        let first = Arc::new(Snapshot::new(rules.borrow().clone()));
        Self { rules, newest: Mutex::new(first) }
    }

    /// The rules, to be waited for.
    pub(crate) fn rules(&self) -> RulesReceiver {
        self.rules.clone()
    }

    /// The snapshot of the rules as they are now.
    pub(crate) fn newest(&self) -> Arc<Snapshot> {
        let rules = self.rules.borrow().clone();
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&newest.rules, &rules) {
            *newest = Arc::new(Snapshot::new(rules));
        }
        Arc::clone(&newest)
    }
}
