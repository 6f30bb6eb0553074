//! `GET /api/schema/{event URI}`: a contract of this deployment, for whoever shall use it.

use crate::{auth::Authenticator, respond};
use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun},
    registry::SchemaRegistry,
    schema::SchemaBundle,
    uri::EventUri,
};
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// Gives out contracts.
#[derive(Clone)]
pub struct Schemas {
    registry: Arc<dyn SchemaRegistry>,
    /// None: to everybody.
    authenticator: Option<Authenticator>,
}

impl Schemas {
    /// Contracts of `registry`, for keys with `schemas:read`; without an authenticator for
    /// everybody.
    pub fn new(registry: Arc<dyn SchemaRegistry>, authenticator: Option<Authenticator>) -> Self {
        Self { registry, authenticator }
    }

    /// `GET /schema/{event URI}`: JSON, or with `Accept: application/octet-stream` the encoded
    /// descriptor set. The digest is the entity tag.
    pub fn router(self) -> Router {
        Router::new().route("/schema/{*uri}", get(answer)).with_state(self)
    }

    async fn find(&self, uri: &str, headers: &HeaderMap) -> Result<Arc<SchemaBundle>> {
        if let Some(authenticator) = &self.authenticator {
            authenticator.authenticate(headers).await?.require(Noun::Schemas, Access::Read)?;
        }
        let uri: EventUri = uri.parse()?;
        if uri.domain().is_some() {
            let message = format!("`{uri}` is another deployment's: ask there");
            return Err(Error::new(ErrorCode::UnknownEventType, message));
        }
        self.registry.get(&uri).await
    }
}

async fn answer(
    State(schemas): State<Schemas>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let found = match path {
        Ok(Path(uri)) => schemas.find(&uri, &headers).await,
        Err(_) => {
            let message = "the path is not UTF-8 after its percent-encoding is undone";
            Err(Error::new(ErrorCode::InvalidEventUri, message))
        }
    };
    match found {
        Ok(bundle) => show(&bundle, &headers),
        Err(error) => respond::problem(&error),
    }
}

fn show(bundle: &SchemaBundle, headers: &HeaderMap) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let tag = format!("\"{}\"", hex::encode(bundle.version.digest));
    let known = text(header::IF_NONE_MATCH);
    if known.split(',').any(|known| known.trim() == tag || known.trim() == "*") {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let accept = text(header::ACCEPT);
    let (media_type, body) = if accept.starts_with(BYTES) {
        (BYTES, bundle.descriptor_set.clone())
    } else {
        match serde_json::to_vec(bundle) {
            Ok(json) => (JSON, json.into()),
            Err(error) => return respond::problem(&Error::internal(error)),
        }
    };
    let head = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::ETAG, tag),
        (header::VARY, "accept".to_owned()),
    ];
    (head, body).into_response()
}
