//! `POST /api/login`: a token for a name and a password; and the keys that verify such tokens.

use crate::{auth::Authenticator, respond};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::{
    Error, ErrorCode, Result,
    access::{Session, TokenKey},
    authenticate::token_of,
    clock::{Clock, Timestamp},
    master_api::MasterApi,
    secret::Secret,
};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// The largest request: a name and a password.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a new token is held back until this process knows the user and the key behind it.
/// News of the Master API are here within a second.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Lets users in.
#[derive(Clone)]
pub struct Login {
    master_api: Arc<dyn MasterApi>,
    authenticator: Authenticator,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
}

#[derive(Deserialize)]
struct Request {
    username: String,
    password: Secret,
}

#[derive(Serialize)]
struct Answer {
    token: String,
    /// RFC 6750: how the token is sent.
    token_type: &'static str,
    expires_at: Timestamp,
}

impl Login {
    /// For the users of `master_api`, whose tokens `authenticator` is to know. A key that signs no
    /// more is shown for `lifetime`, which is that of the tokens it has signed.
    pub fn new(
        master_api: Arc<dyn MasterApi>,
        authenticator: Authenticator,
        clock: Arc<dyn Clock>,
        lifetime: Duration,
    ) -> Self {
        Self { master_api, authenticator, clock, lifetime }
    }

    /// `POST /login` and `POST /login/renew`; `GET /.well-known/jwks.json`. Open to everybody.
    pub fn router(self) -> Router {
        Router::new()
            .route("/login", post(log_in).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)))
            .route("/login/renew", post(renew))
            .route("/.well-known/jwks.json", get(keys))
            .with_state(self)
    }

    async fn log_in(&self, body: Result<Bytes, BytesRejection>) -> Result<Session> {
        // What was sent is not shown again: it may be a password in the wrong place.
        let malformed = || {
            let message = "send JSON with `username` and `password`";
            Error::new(ErrorCode::InvalidRequest, message)
        };
        let body = body.map_err(|_cut_or_large| malformed())?;
        let request: Request = serde_json::from_slice(&body).map_err(|_json| malformed())?;
        let session = self.master_api.log_in(request.username, request.password).await?;
        self.await_known(&session.token).await;
        Ok(session)
    }

    async fn renew(&self, headers: &HeaderMap) -> Result<Session> {
        let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let session = self.master_api.renew_session(token_of(value)?).await?;
        self.await_known(&session.token).await;
        Ok(session)
    }

    /// Waits until the token opens this process's own doors, so that whoever gets it can use it.
    async fn await_known(&self, token: &Secret) {
        let mut rules = self.master_api.rules();
        let known = async {
            while self.authenticator.check(token).await.is_err() && rules.changed().await.is_ok() {}
        };
        if timeout(KNOWN_WITHIN, known).await.is_err() {
            tracing::warn!("a new token is not known here yet, is the Master API reachable?");
        }
    }
}

async fn log_in(State(login): State<Login>, body: Result<Bytes, BytesRejection>) -> Response {
    answer(login.log_in(body).await)
}

async fn renew(State(login): State<Login>, headers: HeaderMap) -> Response {
    answer(login.renew(&headers).await)
}

fn answer(session: Result<Session>) -> Response {
    let session = match session {
        Ok(session) => session,
        Err(error) => return respond::problem(&error),
    };
    let Session { token, expires_at } = session;
    // Exposed to whoever logged in; kept by nobody on the way.
    let token = token.expose().to_owned();
    let mut response = Json(Answer { token, token_type: "Bearer", expires_at }).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A JSON Web Key (RFC 7517) for RS256.
#[derive(Serialize)]
struct Jwk {
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: String,
    n: String,
    e: String,
}

#[derive(Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

async fn keys(State(login): State<Login>) -> Response {
    let rules = Arc::clone(&login.master_api.rules().borrow());
    let jwk = |key: &Arc<TokenKey>| Jwk {
        kty: "RSA",
        r#use: "sig",
        alg: "RS256",
        kid: key.id.to_string(),
        n: key.n.clone(),
        e: key.e.clone(),
    };
    let now = login.clock.now();
    let signs = |at: usize| match rules.token_keys.get(at + 1) {
        Some(next) => next.created_at.after(login.lifetime) > now,
        None => true,
    };
    let shown = rules.token_keys.iter().enumerate().filter(|(at, _)| signs(*at));
    Json(JwkSet { keys: shown.map(|(_, key)| jwk(key)).collect() }).into_response()
}
