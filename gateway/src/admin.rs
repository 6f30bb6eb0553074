//! The admin listener, which is not public: metrics, liveness, readiness.

use crate::{readiness::Readiness, respond};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use contract::Error;
use http::{StatusCode, header};
use prometheus_client::{encoding::text, registry::Registry};
use serde::Serialize;
use std::sync::Arc;

/// Media type of the text form that `prometheus_client` writes (OpenMetrics 1.0).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Serialize)]
struct Health {
    ready: bool,
    reasons: Vec<String>,
    /// What is amiss and keeps nobody from working.
    warnings: Vec<String>,
}

/// `/metrics`, `/health/live`, and `/health/ready`, which answers 503 with the reasons
/// against.
pub fn router(registry: Arc<Registry>, readiness: Readiness) -> Router {
    let probes = Router::new()
        .route("/health/live", get(|| async { Json(serde_json::json!({"live": true})) }))
        .route("/health/ready", get(ready).with_state(readiness))
        .route("/metrics", get(metrics).with_state(registry));
    respond::with_fallbacks(probes)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { ready, reasons, warnings: readiness.warnings() })).into_response()
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    let mut page = String::new();
    match text::encode(&mut page, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => respond::problem(&Error::internal(error)),
    }
}
