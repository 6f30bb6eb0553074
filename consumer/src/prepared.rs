//! What is made once for a subscription and used for each of its attempts.

use crate::{config::Config, sign::Signer, transform::Transform};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    id::SubscriptionNumber,
    rules::{Rules, RulesReceiver},
    setting::DELIVERY_TIMEOUT,
    stamp::StampKey,
    subscription::Subscription,
};
use http::{HeaderValue, Uri};
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
    /// From credentials in the URL.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) signer: Signer,
    pub(crate) timeout: Duration,
    /// What makes the body; None: the payload is sent as it came.
    pub(crate) transform: Option<Transform>,
}

impl Prepared {
    fn new(subscription: &Subscription, rules: &Rules, config: &Config) -> Result<Self, String> {
        // The parser of the URL standard settles every spelling of an address: 0x7f.1 is 127.0.0.1.
        let mut url = Url::parse(&subscription.spec.url).map_err(|e| format!("its URL: {e}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its URL is neither http nor https".to_owned());
        }
        let authorization = basic_authorization(&url)?;
        // Cannot fail for http and https, and a URL that kept them would be refused just below.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| "its URL has no host".to_owned())?;
        url.set_fragment(None);
        Ok(Self {
            uri: Uri::try_from(url.as_str()).map_err(|e| format!("its URL: {e}"))?,
            authorization,
            signer: Signer::new(rules.secrets_with_time(&subscription.secrets))?,
            timeout: config.attempt_timeout(
                subscription.spec.timeout_ms,
                rules.settings.duration(DELIVERY_TIMEOUT),
            ),
            transform: subscription
                .spec
                .transform
                .as_deref()
                .map(Transform::compile)
                .transpose()?,
        })
    }
}

fn basic_authorization(url: &Url) -> Result<Option<HeaderValue>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(percent_decode(&pair))));
    let mut value = value.map_err(|_value| "the credentials in its URL".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Undoes `%XX`, which the URL parser puts into credentials.
fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let mut byte = [*first];
        rest = match escaped.map(|digits| hex::decode_to_slice(digits, &mut byte)) {
            Some(Ok(())) => &tail[2..],
            _ => tail,
        };
        bytes.push(byte[0]);
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_become_a_header() {
        let header = |url: &str| basic_authorization(&Url::parse(url).unwrap()).unwrap();
        assert_eq!(header("https://host/"), None);
        let value = header("https://user:p%40ss@host/").unwrap();
        assert_eq!(value, format!("Basic {}", STANDARD.encode("user:p@ss")).as_str());
        assert!(value.is_sensitive());
        assert_eq!(percent_decode("%zz%4"), b"%zz%4");
    }
}
