//! Who calls the API: the holder of a key or token, as [`Authenticate`] knows them.

use crate::respond;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use contract::{
    Result,
    access::Principal,
    authenticate::{Authenticate, Keys, token_of},
    clock::Clock,
    rules::RulesReceiver,
    secret::Secret,
};
use http::{HeaderMap, Method, header};
use std::sync::Arc;

/// Checks keys and tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<dyn Authenticate>);

impl Authenticator {
    /// Knows the keys in `rules`, with expiry on `clock`.
    pub fn new(rules: RulesReceiver, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Keys::new(rules, clock)))
    }

    /// Knows whom `who` knows.
    pub fn knowing(who: Arc<dyn Authenticate>) -> Self {
        Self(who)
    }

    /// Whoever sent a request with these headers: `Authorization: Bearer KEY`, or `JWT KEY` as the
    /// older form. Errors: `unauthenticated`; `unavailable` when it cannot be told.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        self.check(&token_of(value)?).await
    }

    /// Whoever holds `token`, for calls that carry it elsewhere than in a header (the first
    /// message of a WebSocket, say). Errors: as [`Self::authenticate`].
    pub async fn check(&self, token: &Secret) -> Result<Principal> {
        self.0.authenticate(token).await
    }

    /// Lets only requests with a valid key or token reach `router`; the handlers find the [`Principal`] in
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
    match authenticator.authenticate(request.headers()).await {
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
