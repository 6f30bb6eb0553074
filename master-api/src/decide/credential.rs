//! The secret of a subscription's `auth`: given once, stored under lock, and named from then on.

use super::{Desk, conflict, refused};
use contract::{
    Result,
    sending::{Auth, AuthMethod, Credential},
    subscription::SubscriptionSpec,
};
use url::Url;

/// Since then, a log says what a subscription adds to its deliveries.
const SENDING_SINCE_FORMAT: u32 = 5;

/// What is to be recorded of a subscription: the secret of its `auth` is a reference in it.
pub(super) fn with_stored_credential(
    desk: &mut Desk<'_>,
    spec: &SubscriptionSpec,
    held: Option<&SubscriptionSpec>,
) -> Result<SubscriptionSpec> {
    let said = spec.auth.is_some() || !spec.headers.is_empty() || !spec.format.is_as_received();
    if said && desk.state.format < SENDING_SINCE_FORMAT {
        let why = "some replica is too old to know of `headers`, `auth` and `format`";
        return Err(conflict("subscription", &spec.name, why));
    }
    let mut spec = spec.clone();
    let Some(auth) = &mut spec.auth else { return Ok(spec) };
    let refuse = |why: String| refused("subscription", &spec.name, format!("auth: {why}"));
    let kept = held.and_then(|held| Some((held, held.auth.as_ref()?)));
    let kept = kept.filter(|(_, held)| held.method.as_str() == auth.method.as_str());
    let stored = kept.and_then(|(_, held)| held.credential.stored().cloned());
    let stored = match (&auth.credential, stored) {
        (Credential::Given(secret), Some(stored)) if desk.bytes_of(stored.id) == Some(secret) => {
            stored
        }
        (Credential::Given(secret), _) => desk.store_secret(secret),
        // Whoever gives back what was read names no other's.
        (Credential::Stored(named), Some(stored)) if named.id != stored.id => {
            return Err(refuse("it names a secret that is not its own".to_owned()));
        }
        (Credential::Kept | Credential::Stored(_), Some(stored)) => {
            let elsewhere = kept
                .is_some_and(|(held, before)| reach(&spec.url, auth) != reach(&held.url, before));
            if elsewhere {
                let noun = auth.method.credential();
                let why =
                    format!("give the {noun} again: it would go to another place than so far");
                return Err(refuse(why));
            }
            stored
        }
        (Credential::Kept | Credential::Stored(_), None) => {
            let (method, noun) = (&auth.method, auth.method.credential());
            return Err(refuse(format!("`{method}` needs its {noun}")));
        }
    };
    if let AuthMethod::Mtls { certificate } = &auth.method {
        // Exposed to be held against its certificate.
        let key = desk.bytes_of(stored.id).map(|key| key.expose()).unwrap_or_default();
        egress::Identity::from_pem(certificate, key).map_err(refuse)?;
    }
    auth.credential = Credential::Stored(stored);
    Ok(spec)
}

/// Whom a secret is shown to; None: nobody, it proves itself without.
fn reach(url: &str, auth: &Auth) -> Option<String> {
    let shown_to = match &auth.method {
        AuthMethod::Basic { .. } | AuthMethod::Bearer | AuthMethod::Header { .. } => url,
        AuthMethod::Oauth2(client) => &client.token_url,
        AuthMethod::Mtls { .. } => return None,
    };
    let origin = Url::parse(shown_to).map(|url| url.origin().ascii_serialization());
    Some(origin.unwrap_or_else(|_no_url| shown_to.to_owned()))
}
