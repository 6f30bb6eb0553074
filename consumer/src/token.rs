//! Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4): fetched once for all who wait,
//! and used until shortly before they expire.

use crate::{auth::Client, config::Config, outcome::Failure};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use contract::{
    clock::{Clock, Timestamp},
    delivery::Cause,
    limits::RESPONSE_BODY_BYTES_MAX,
};
use egress::GuardedClient;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use url::form_urlencoded::{Serializer, byte_serialize};

/// Most clients whose tokens are held; beyond that they are fetched anew.
const CLIENTS_MAX: usize = 16 * 1024;
/// Most connections to endpoints that give tokens.
const CONNECTIONS_MAX: usize = 64;
/// A token is replaced so long before it expires, or in the last tenth of its time.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a token is used whose endpoint does not say how long it is good for.
const UNSAID: Duration = Duration::from_secs(300);
/// So long nobody asks again after an endpoint gave none.
const NONE_FOR: Duration = Duration::from_secs(1);
/// Longest that a token is used.
const USED_MAX: Duration = Duration::from_secs(24 * 3600);

/// A token as it is sent, and which one it is of its client's.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    fetch: u64,
    good_until: Timestamp,
}

/// The tokens of one client.
#[derive(Debug, Default)]
struct Held {
    /// How many fetches have ended.
    ended: AtomicU64,
    /// What came of the last fetch. Locked while one is under way: whoever waits for the lock gets
    /// what comes of it.
    last: tokio::sync::Mutex<Option<Fetched>>,
}

/// What came of a fetch, and when.
#[derive(Debug, Clone)]
struct Fetched {
    token: Result<Token, Failure>,
    at: Timestamp,
}

/// All tokens.
pub(crate) struct Tokens {
    client: GuardedClient<Full<Bytes>>,
    clock: Arc<dyn Clock>,
    held: Mutex<HashMap<String, Arc<Held>>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(***)")
    }
}

impl Tokens {
    /// None yet. A sentence if `config` does not allow any.
    pub(crate) fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let settings = egress::Settings { connections_max: CONNECTIONS_MAX, ..config.egress() };
        let client = egress::client(&settings, config.extra_ca_file.as_deref())?;
        Ok(Self { client, clock, held: Mutex::default() })
    }

    /// A token that is good now and is not `refused`, which the endpoint did not take.
    pub(crate) async fn get(
        &self,
        client: &Client,
        refused: Option<&Token>,
        deadline: Instant,
    ) -> Result<Token, Failure> {
        let held = self.held(client);
        let seen = held.ended.load(Ordering::Acquire);
        let fetched = timeout_at(deadline, async {
            let mut last = held.last.lock().await;
            let meanwhile = held.ended.load(Ordering::Acquire) > seen;
            if let Some(last) = &*last
                && (meanwhile || self.is_good(last))
                && !is_same(&last.token, refused)
            {
                return last.token.clone();
            }
            let fetch = seen.wrapping_add(1);
            let token = self.fetch(client, fetch).await;
            *last = Some(Fetched { token: token.clone(), at: self.clock.now() });
            held.ended.fetch_add(1, Ordering::Release);
            token
        });
        fetched
            .await
            .unwrap_or_else(|_elapsed| Err(no_token("its endpoint did not answer in time")))
    }

    fn held(&self, client: &Client) -> Arc<Held> {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CLIENTS_MAX {
            all.clear();
        }
        Arc::clone(all.entry(client.name()).or_default())
    }

    fn is_good(&self, fetched: &Fetched) -> bool {
        let none_until = fetched.at.after(NONE_FOR);
        let until = fetched.token.as_ref().map_or(none_until, |token| token.good_until);
        self.clock.now() < until
    }

    async fn fetch(&self, client: &Client, fetch: u64) -> Result<Token, Failure> {
        let request = client.request().map_err(no_token)?;
        let asked = self.clock.now();
        let response = self.client.request(request).await;
        let response = response.map_err(|error| {
            let failure = crate::outcome::of_error(&error, !error.is_connect());
            no_token(failure.sentence)
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| no_token(format!("its endpoint's answer: {error}")))?;
        let granted = read(status, &body.to_bytes()).map_err(no_token)?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", granted.access_token))
            .map_err(|_value| no_token("its endpoint gave one that no header can hold"))?;
        header.set_sensitive(true);
        let good_until = asked.after(used_for(granted.expires_in));
        tracing::debug!(client = client.credentials.client_id, %good_until, "token fetched");
        Ok(Token { header, fetch, good_until })
    }
}

fn is_same(last: &Result<Token, Failure>, refused: Option<&Token>) -> bool {
    let refused = refused.map(|token| (token.fetch, &token.header));
    refused.is_some() && last.as_ref().ok().map(|token| (token.fetch, &token.header)) == refused
}

fn used_for(expires_in: Option<u64>) -> Duration {
    let Some(life) = expires_in.map(Duration::from_secs) else { return UNSAID };
    life.saturating_sub(MARGIN.min(life / 10)).min(USED_MAX)
}

fn no_token(why: impl fmt::Display) -> Failure {
    Failure::new(Cause::Auth, format!("there is no token: {why}"))
}

/// What an endpoint grants (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// How it refuses (section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Reads an answer; the sentence of a refusal shows nothing of it but the code of the error.
fn read(status: StatusCode, body: &[u8]) -> Result<Granted, String> {
    if !status.is_success() {
        let error = serde_json::from_slice::<Refused>(body).map(|refused| refused.error);
        let code: String = error.unwrap_or_default().chars().take(60).collect();
        let code = if code.is_empty() { code } else { format!(": {code}") };
        return Err(format!("its endpoint answered {}{code}", status.as_u16()));
    }
    let granted: Granted = serde_json::from_slice(body)
        .map_err(|_json| "its endpoint's answer is not what RFC 6749 says".to_owned())?;
    match granted.token_type.eq_ignore_ascii_case("bearer") {
        true => Ok(granted),
        false => Err("its endpoint gave one that is not of the type bearer".to_owned()),
    }
}

impl Client {
    /// Tells its tokens apart from those of others.
    fn name(&self) -> String {
        let (number, secret) = (self.subscription.0, self.secret_id);
        format!("{number} {secret} {:?}", self.credentials)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let client = &self.credentials;
        // Exposed to the endpoint that knows it.
        let secret = self.secret.expose();
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !client.scopes.is_empty() {
            form.append_pair("scope", &client.scopes.join(" "));
        }
        if let Some(audience) = &client.audience {
            form.append_pair("audience", audience);
        }
        let mut request = Request::builder().method(Method::POST).uri(&client.token_url);
        if client.secret_in_body {
            form.append_pair("client_id", &client.client_id).append_pair("client_secret", secret);
        } else {
            // Section 2.3.1: both are form-encoded first.
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&client.client_id), encoded(secret));
            request =
                request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
        }
        request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::from(form.finish()))
            .map_err(|error| format!("its endpoint cannot be asked: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_expires() {
        let seconds = |life| used_for(life).as_secs();
        assert_eq!(seconds(Some(3600)), 3540);
        assert_eq!(seconds(Some(100)), 90);
        assert_eq!(seconds(Some(0)), 0);
        assert_eq!(seconds(None), 300);
        assert_eq!(seconds(Some(u64::MAX)), 24 * 3600);
    }

    #[test]
    fn answers_are_read_and_refusals_show_their_code_alone() {
        let granted = br#"{"access_token": "t", "token_type": "bEaReR", "expires_in": 5}"#;
        assert_eq!(read(StatusCode::OK, granted).unwrap().expires_in, Some(5));
        let refused = |status: u16, body: &str| {
            read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).err().unwrap()
        };
        let why = refused(401, r#"{"error": "invalid_client", "error_description": "hush"}"#);
        assert_eq!(why, "its endpoint answered 401: invalid_client");
        assert_eq!(refused(302, "<html>"), "its endpoint answered 302");
        assert!(refused(200, r#"{"access_token": "hush"}"#).contains("RFC 6749"));
        let mac = r#"{"access_token": "hush", "token_type": "mac"}"#;
        assert!(refused(200, mac).contains("bearer"));
    }
}
