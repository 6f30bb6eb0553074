//! What a definition must keep; each refusal is a sentence for whoever wrote it.

use super::{Desk, refused, signing::public_key};
use contract::{
    Result,
    backoff::BackoffPolicy,
    limits,
    secret::Secret,
    sending::{AuthMethod, check_headers},
    source::{
        Piece, Replay, Scheme, SecretForm, SignatureRule, SourceSpec, StaticResponse,
        check_event_types,
    },
    subscription::SubscriptionSpec,
    uri::EventUri,
};
use url::Url;

/// Length of the key bytes of a signing secret (Standard Webhooks 1.0.0, "Symmetric").
const SIGNING_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// A whole attempt, in milliseconds.
const TIMEOUT_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;
/// The longest URL of an endpoint, in bytes.
const URL_LENGTH_MAX: usize = 2048;
/// Most attempts of one subscription at once.
const IN_FLIGHT_MAX: u32 = 10_000;
/// Most hosts that a source greets.
const ORIGINS_MAX: usize = 64;
/// The oldest signed timestamp, in seconds.
const TOLERANCE_S_MAX: u32 = 86_400;

/// A name that people give.
pub fn name(noun: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > limits::NAME_LENGTH_MAX {
        let max = limits::NAME_LENGTH_MAX;
        return Err(refused(noun, name, format!("a name has 1 to {max} bytes")));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        let why = "a name has no control characters and no space at its ends";
        return Err(refused(noun, name, why));
    }
    Ok(())
}

/// A name that also stands in a path or a header.
pub fn token(noun: &str, name: &str) -> Result<()> {
    self::name(noun, name)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !name.bytes().all(allowed) || name.starts_with('.') {
        let why = "allowed are letters, digits, `_`, `-` and `.`, the last not at the start";
        return Err(refused(noun, name, why));
    }
    Ok(())
}

/// A subscriber that is referred to must be there.
pub fn subscriber(desk: &Desk<'_>, noun: &str, name: &str, id: Option<&str>) -> Result<()> {
    match id {
        Some(id) if !desk.state.subscribers.contains_key(id) => {
            Err(refused(noun, name, format!("there is no subscriber `{id}`; create it first")))
        }
        Some(_) | None => Ok(()),
    }
}

/// A back-off policy that is given inline.
pub fn backoff(noun: &str, name: &str, policy: Option<&BackoffPolicy>) -> Result<()> {
    let checked = policy.map_or(Ok(()), BackoffPolicy::check);
    checked.map_err(|why| refused(noun, name, format!("backoff: {why}")))
}

/// A source and its secrets. `held`: how many it has already.
pub fn source(spec: &SourceSpec, secrets: &[Secret], held: usize) -> Result<()> {
    let refuse = |why: String| refused("source", &spec.name, why);
    token("source", &spec.name)?;
    let pieces = spec.event_type.pieces().map_err(|why| refuse(format!("event_type: {why}")))?;
    if pieces.is_empty() {
        return Err(refuse("event_type is empty".into()));
    }
    check_event_types(&spec.event_types).map_err(|why| refuse(format!("event_types: {why}")))?;
    if spec.otherwise.as_ref().is_some_and(EventUri::is_own) {
        return Err(refuse("otherwise: that type is made by the server alone".into()));
    }
    spec.limits.check().map_err(|why| refuse(format!("limits: {why}")))?;
    let response = spec.response.as_deref().map_or(Ok(()), StaticResponse::check);
    response.map_err(|why| refuse(format!("response: {why}")))?;
    if spec.origins.len() > ORIGINS_MAX || spec.origins.iter().any(String::is_empty) {
        return Err(refuse(format!("origins: expected at most {ORIGINS_MAX} names of hosts")));
    }
    if spec.event_types.is_empty() && pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
        let uri = spec.event_type.0.parse::<EventUri>();
        uri.map_err(|error| refuse(format!("event_type: {error}")))?;
    }
    if let Some(key) = &spec.idempotency_key {
        key.pieces().map_err(|why| refuse(format!("idempotency_key: {why}")))?;
    }
    if spec.invalid == contract::event::Disposition::Accept {
        return Err(refuse("invalid: allowed are reject and quarantine".into()));
    }
    if spec.body_bytes_max.is_some_and(|max| {
        usize::try_from(max).map_or(true, |max| max == 0 || max > limits::BODY_BYTES_MAX_GITHUB)
    }) {
        let max = limits::BODY_BYTES_MAX_GITHUB;
        return Err(refuse(format!("body_bytes_max: allowed are 1 to {max}")));
    }
    if spec.tolerance_s.is_some_and(|seconds| seconds > TOLERANCE_S_MAX) {
        return Err(refuse(format!("tolerance_s: allowed are 0 to {TOLERANCE_S_MAX}")));
    }
    backoff("source", &spec.name, spec.backoff.as_ref())?;
    count(secrets).and_then(|()| proof(spec, secrets, held)).map_err(refuse)
}

/// How the requests of a source are proved: everything its scheme needs is there, and nothing
/// that it cannot use.
fn proof(spec: &SourceSpec, secrets: &[Secret], held: usize) -> Result<(), String> {
    let scheme = spec.verify;
    let facts = scheme.facts();
    if facts.secret != SecretForm::Nothing && held == 0 && secrets.is_empty() {
        return Err(format!("verify `{scheme}` needs a secret"));
    }
    secrets.iter().try_for_each(|secret| scheme.check_secret(secret))?;
    let rule = spec.signature.as_deref();
    if rule.is_some() && !matches!(scheme, Scheme::Hmac | Scheme::ApiKey) {
        return Err(format!(
            "signature: `{scheme}` has its own; only `hmac` and `api-key` take it"
        ));
    }
    if let Some(rule) = rule {
        self::rule(scheme, rule).map_err(|why| format!("signature: {why}"))?;
    }
    if let Some(url) = &spec.public_url {
        self::url(url).map_err(|why| format!("public_url: {why}"))?;
    } else if facts.signs_url || rule.is_some_and(SignatureRule::signs_url) {
        return Err(format!(
            "verify `{scheme}` signs the URL: set `public_url` to the whole URL given to the \
             provider"
        ));
    }
    if spec.replay == Replay::Signature && !facts.signs {
        return Err(format!("replay: `{scheme}` makes no signature that could be remembered"));
    }
    Ok(())
}

/// A proof that a source describes itself.
fn rule(scheme: Scheme, rule: &SignatureRule) -> Result<(), String> {
    let headers = [&rule.header, &rule.id_header, &rule.timestamp_header];
    for header in headers.into_iter().flatten() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if header.is_empty() || header.len() > limits::NAME_LENGTH_MAX || !header.bytes().all(token)
        {
            let shown: String = header.chars().take(80).collect();
            return Err(format!("`{shown}` is no name of a header"));
        }
    }
    if scheme == Scheme::ApiKey {
        let SignatureRule { header, prefix, .. } = rule.clone();
        let plain = SignatureRule { header, prefix, ..SignatureRule::default() };
        return match plain == *rule {
            true => Ok(()),
            false => Err("`api-key` takes only `header` and `prefix`".to_owned()),
        };
    }
    rule.content().map(drop)
}

/// A subscription and its secrets.
pub fn subscription(spec: &SubscriptionSpec, secrets: &[Secret]) -> Result<()> {
    let refuse = |why: String| refused("subscription", &spec.name, why);
    name("subscription", &spec.name)?;
    match (spec.pull, spec.url.is_empty()) {
        (true, true) if spec.auth.is_none() => {}
        (true, true) => {
            return Err(refuse("auth: receivers prove who they are, with an API key".into()));
        }
        (true, false) => {
            return Err(refuse("pull: deliveries go to a URL or to receivers, not to both".into()));
        }
        (false, _) => url(&spec.url).map_err(|why| refuse(format!("url: {why}")))?,
    }
    if spec.events.is_empty() || spec.events.len() > limits::PATTERNS_MAX {
        return Err(refuse(format!("events: expected 1 to {} patterns", limits::PATTERNS_MAX)));
    }
    backoff("subscription", &spec.name, spec.backoff.as_ref())?;
    if spec.max_in_flight.is_some_and(|max| !(1..=IN_FLIGHT_MAX).contains(&max)) {
        return Err(refuse(format!("max_in_flight: allowed are 1 to {IN_FLIGHT_MAX}")));
    }
    if let Some(limit) = spec.rate_limit {
        limit.check().map_err(|why| refuse(format!("rate_limit: {why}")))?;
    }
    if spec.timeout_ms.is_some_and(|timeout| !TIMEOUT_MS.contains(&timeout)) {
        let (min, max) = TIMEOUT_MS.into_inner();
        return Err(refuse(format!("timeout_ms: allowed are {min} to {max}")));
    }
    check_headers(&spec.headers).map_err(refuse)?;
    if let Some(auth) = &spec.auth {
        auth.check().map_err(refuse)?;
        match &auth.method {
            AuthMethod::Oauth2(client) => {
                url(&client.token_url).map_err(|why| refuse(format!("auth: token_url: {why}")))?;
            }
            AuthMethod::Mtls { .. } if !spec.url.starts_with("https:") => {
                return Err(refuse("auth: mtls: it needs an https URL".into()));
            }
            _ => {}
        }
    }
    count(secrets).map_err(refuse)?;
    let good = |secret: &&Secret| {
        secret.webhook_key().is_some_and(|key| SIGNING_KEY_BYTES.contains(&key.len()))
    };
    let (keys, secrets): (Vec<_>, Vec<_>) = secrets.iter().partition(|one| one.is_signing_key());
    if !keys.into_iter().all(|key| public_key(key).is_some()) {
        let why = "secret: expected `whsk_` and the 32 or 64 bytes of an ed25519 key in base64";
        return Err(refuse(why.into()));
    }
    match secrets.iter().all(good) {
        true => Ok(()),
        false => Err(refuse("secret: expected `whsec_` and 24 to 64 bytes in base64".into())),
    }
}

fn count(secrets: &[Secret]) -> Result<(), String> {
    let max = limits::SECRETS_MAX;
    match secrets.len() <= max {
        true => Ok(()),
        false => Err(format!("secrets: at most {max} at once")),
    }
}

fn url(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    if text.len() > URL_LENGTH_MAX {
        return Err(format!("it has more than {URL_LENGTH_MAX} bytes"));
    }
    let url = Url::parse(text).map_err(|error| format!("`{shown}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{shown}` has the scheme `{}`; allowed: http, https", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{shown}` names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not carry a user name or password: it is shown to people".into());
    }
    Ok(())
}
