//! Who calls the API: bearer keys, checked against the rules in force.

use crate::respond;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use contract::{
    Error, ErrorCode, Result, access::Principal, clock::Clock, rules::RulesReceiver, secret::Secret,
};
use http::{HeaderMap, Method, header};
use std::{fmt, sync::Arc};

/// Checks API keys. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    rules: RulesReceiver,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Checks against `rules`, with expiry on `clock`.
    pub fn new(rules: RulesReceiver, clock: Arc<dyn Clock>) -> Self {
        Self { rules, clock }
    }

    /// Whoever sent a request with these headers: `Authorization: Bearer KEY`, or `JWT KEY` as the
    /// older form. Errors: `unauthenticated`.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        let value = headers
            .get(header::AUTHORIZATION)
            .ok_or_else(|| refuse("send an API key as `Authorization: Bearer KEY`"))?;
        let token =
            value.to_str().ok().and_then(token).ok_or_else(|| {
                refuse("the header `authorization` must have the form `Bearer KEY`")
            })?;
        self.check(&Secret::new(token))
    }

    /// Whoever holds `token`, for calls that carry it elsewhere than in a header (the first
    /// message of a WebSocket, say). Errors: `unauthenticated`.
    pub fn check(&self, token: &Secret) -> Result<Principal> {
        // Bound to a name first: the guard of the channel must not live while the key is hashed.
        let rules = Arc::clone(&self.rules.borrow());
        rules
            .authenticate(token, self.clock.now())
            .ok_or_else(|| refuse("the API key is unknown, expired or revoked"))
    }

    /// Lets only requests with a valid key reach `router`; the handlers find the [`Principal`] in
    /// the request's extensions.
    ///
    /// A browser that asks for a page (a plain GET that accepts HTML) passes without a key, and
    /// then without a principal: the page holds no data, and whoever answers data must insist on
    /// the principal. So does the opening of a WebSocket.
    pub fn guard(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), require_key))
    }
}

async fn require_key(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    match authenticator.authenticate(request.headers()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(_) if wants_page(&request) || opens_socket(&request) => next.run(request).await,
        Err(error) => respond::problem(&error),
    }
}

fn wants_page(request: &Request) -> bool {
    let accepts_html = || {
        let accept = request.headers().get(header::ACCEPT)?.to_str().ok()?;
        Some(accept.contains("text/html"))
    };
    request.method() == Method::GET
        && request.uri().query().is_none()
        && !request.headers().contains_key(header::UPGRADE)
        && !request.headers().contains_key(header::AUTHORIZATION)
        && accepts_html().unwrap_or(false)
}

/// A browser can give a WebSocket no header: its first message names the key.
fn opens_socket(request: &Request) -> bool {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    request.method() == Method::GET
        && upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
        && !request.headers().contains_key(header::AUTHORIZATION)
}

fn token(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("jwt");
    let token = token.trim();
    (known && !token.is_empty()).then_some(token)
}

fn refuse(message: &str) -> Error {
    Error::new(ErrorCode::Unauthenticated, message)
}
