//! GraphQL over a WebSocket, as `graphql-transport-ws` says it: its life and its limits.

mod farewell;
mod life;

use self::{farewell::Farewell, life::Life};
use crate::graphql::ApiSchema;
use axum::{
    extract::{FromRequestParts, Request, WebSocketUpgrade},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::authenticate::{Authenticate, token_of};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Connections at once.
const SOCKETS_MAX: usize = 256;
/// The only protocol that is spoken.
const PROTOCOL: &str = "graphql-transport-ws";
/// The largest message of a client.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The open ones.
#[derive(Clone)]
pub(super) struct Sockets {
    slots: Arc<Semaphore>,
    who: Arc<dyn Authenticate>,
}

impl Sockets {
    pub(super) fn new(who: Arc<dyn Authenticate>) -> Self {
        Self { slots: Arc::new(Semaphore::new(SOCKETS_MAX)), who }
    }

    /// Opens one. The request's header names the token; else the first message has to.
    pub(super) async fn open(&self, schema: ApiSchema, request: Request) -> Response {
        let (mut parts, _body) = request.into_parts();
        let named = parts.headers.get(header::AUTHORIZATION);
        let named = named.and_then(|value| token_of(Some(value.as_bytes())).ok());
        let offered = parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let offered = offered.and_then(|offered| offered.to_str().ok()).unwrap_or_default();
        let spoken = offered.split(',').any(|protocol| protocol.trim() == PROTOCOL);
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade.max_message_size(MESSAGE_BYTES_MAX).protocols([PROTOCOL]),
            Err(refusal) => return refusal.into_response(),
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let sentence = format!("there are {SOCKETS_MAX} WebSockets already; try again later");
            return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
        };
        if !spoken {
            return upgrade.on_upgrade(|socket| async move {
                life::close(socket, Farewell::other_protocol()).await;
                drop(slot);
            });
        }
        let who = Arc::clone(&self.who);
        let life = Life { schema, named, who, slot };
        upgrade.on_upgrade(|socket| life.serve(socket))
    }
}
