//! The gateway and its routes.

use crate::{
    auth::Authenticator,
    body::Bodies,
    config::Config,
    events,
    guard::{self, Shedder},
    headers::Keeper,
    metrics::Metrics,
    readiness::Readiness,
    respond, signing_keys,
    sources::Sources,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use contract::{
    authenticate::Authenticate, broker::EventBroker, clock::Clock, random::Random,
    rules::RulesReceiver,
};
use http::{HeaderMap, header};
use http_body_util::Limited;
use serde::Serialize;
use std::{fmt, sync::Arc};
use tower::ServiceExt;

/// Hop 1. Stateless: all it must know it takes from the rules in force.
pub struct Gateway {
    pub(crate) config: Config,
    pub(crate) broker: Arc<dyn EventBroker>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) metrics: Metrics,
    pub(crate) sources: Sources,
    pub(crate) bodies: Bodies,
    pub(crate) keeper: Keeper,
    pub(crate) authenticator: Authenticator,
    pub(crate) rules: RulesReceiver,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What the wiring puts behind the same door.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Served under `/api`; its paths are relative to that, as in `/graphql`. It guards itself:
    /// wrap it with [`Authenticator::guard`].
    pub api: Router,
    /// gRPC services; get the requests whose content type is `application/grpc`.
    pub grpc: Option<Router>,
    /// For `GET /`; None: always ready.
    pub readiness: Option<Readiness>,
}

#[derive(Debug, Serialize)]
struct Identity {
    name: &'static str,
    version: &'static str,
    ready: bool,
}

impl Gateway {
    /// A gateway that hands events to `broker` and knows sources and keys from `rules`.
    #[expect(clippy::too_many_arguments, reason = "the one place that shows every arrow")]
    pub fn new(
        config: Config,
        broker: Arc<dyn EventBroker>,
        rules: RulesReceiver,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
    ) -> Self {
        Self {
            sources: Sources::new(rules.clone(), &config),
            bodies: Bodies::new(&config, metrics.body_bytes.clone()),
            keeper: Keeper::new(&config.credential_headers),
            authenticator: Authenticator::new(rules.clone(), Arc::clone(&clock)),
            rules,
            config,
            broker,
            clock,
            random,
            metrics,
        }
    }

    /// The same gateway, knowing whom `who` knows.
    #[must_use]
    pub fn knowing(self, who: Arc<dyn Authenticate>) -> Self {
        Self { authenticator: Authenticator::knowing(who), ..self }
    }

    /// Checks keys and tokens in the same way, for the routers that the wiring mounts.
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// All public routes.
    pub fn router(self: Arc<Self>, mounts: Mounts) -> Router {
        let Config { requests_max, retry_after, api_body_bytes_max, .. } = self.config;
        let shedder = Shedder::new(requests_max, retry_after.0, self.metrics.clone());
        let shed = from_fn_with_state(shedder, guard::shed);

        let api = mounts.api.layer(from_fn_with_state(api_body_bytes_max, limit_body));
        let work = Router::new()
            .route("/events/{*path}", post(events::post).get(events::get).options(events::options))
            .with_state(Arc::clone(&self))
            .merge(signing_keys::router(self.rules.clone()))
            .nest("/api", api)
            .layer(shed.clone());
        let identity = get(identify).with_state(mounts.readiness);
        let http =
            Router::new().route("/", identity.clone()).route("/health", identity).merge(work);
        let http = respond::with_fallbacks(http);
        let all = match mounts.grpc {
            Some(grpc) => http.layer(from_fn_with_state(grpc.layer(shed), dispatch_grpc)),
            None => http,
        };
        all.layer(from_fn(guard::catch_panic))
    }
}

async fn identify(State(readiness): State<Option<Readiness>>) -> Json<Identity> {
    let ready = readiness.is_none_or(|readiness| readiness.is_ready());
    Json(Identity { name: "certes", version: env!("CARGO_PKG_VERSION"), ready })
}

/// Middleware: gRPC and HTTP share the port, told apart by the content type.
async fn dispatch_grpc(State(grpc): State<Router>, request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) {
        return next.run(request).await;
    }
    match grpc.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    match media_type.strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest.starts_with(b"+") || rest.starts_with(b";"),
        None => false,
    }
}

/// Middleware: a body over the bound is refused before it is read, or cut where it exceeds it.
async fn limit_body(State(max): State<usize>, request: Request, next: Next) -> Response {
    if let Err(error) = crate::body::check_length(request.headers(), max) {
        return respond::problem(&error);
    }
    next.run(request.map(|body| Body::new(Limited::new(body, max)))).await
}
