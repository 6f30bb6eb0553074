//! GraphQL over a WebSocket, as `graphql-transport-ws` says it: its life and its limits.

use crate::graphql::{ApiSchema, Connected, Holder, error};
use async_graphql::Data;
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::{
    extract::{FromRequestParts, Request, WebSocketUpgrade, ws::WebSocket},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::{
    Error, ErrorCode,
    authenticate::{Authenticate, token_of},
    secret::Secret,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// Connections at once.
const SOCKETS_MAX: usize = 256;
/// The only protocol that is spoken.
const PROTOCOL: &str = "graphql-transport-ws";
/// The largest message of a client.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take for its first message.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that was silent for so long is asked by a ping, and closed if it is silent for as long
/// again.
const KEEPALIVE: Duration = Duration::from_secs(20);

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
        if !offered.split(',').any(|protocol| protocol.trim() == PROTOCOL) {
            let sentence = format!("the WebSocket's protocol has to be {PROTOCOL}");
            return (StatusCode::BAD_REQUEST, sentence).into_response();
        }
        let only = header::HeaderValue::from_static(PROTOCOL);
        parts.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, only);
        let protocol = match GraphQLProtocol::from_request_parts(&mut parts, &()).await {
            Ok(protocol) => protocol,
            Err(refusal) => return refusal.into_response(),
        };
        let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => upgrade.max_message_size(MESSAGE_BYTES_MAX).protocols([PROTOCOL]),
            Err(refusal) => return refusal.into_response(),
        };
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            let sentence = format!("there are {SOCKETS_MAX} WebSockets already; try again later");
            return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
        };
        let who = Arc::clone(&self.who);
        let life = Life { schema, named, who, protocol, slot };
        upgrade.on_upgrade(|socket| life.serve(socket))
    }
}

/// One connection.
struct Life {
    schema: ApiSchema,
    /// The token of its header.
    named: Option<Secret>,
    who: Arc<dyn Authenticate>,
    protocol: GraphQLProtocol,
    slot: OwnedSemaphorePermit,
}

impl Life {
    async fn serve(self, socket: WebSocket) {
        let Self { schema, named, who, protocol, slot } = self;
        let (opened, opening) = oneshot::channel();
        let begin = move |payload: serde_json::Value| async move {
            let token = named.map_or_else(|| token(&payload), Ok).map_err(|none| error(&none))?;
            let principal = who.authenticate(&token).await.map_err(|refusal| error(&refusal))?;
            let mut data = Data::default();
            data.insert(Holder::new(who, token, principal.clone()));
            data.insert(principal);
            // Whoever waits for it may have given up by now, and the connection with it.
            opened
                .send(())
                .map_err(|()| error(&Error::new(ErrorCode::RequestTimeout, "too slow")))?;
            Ok(data)
        };
        let connection = GraphQLWebSocket::new(socket, Connected(schema), protocol)
            .on_connection_init(begin)
            .keepalive_timeout(KEEPALIVE)
            .serve();
        let mut connection = Box::pin(connection);
        tokio::select! {
            () = &mut connection => {}
            opened = timeout(OPENING_TIMEOUT, opening) => {
                if matches!(opened, Ok(Ok(()))) {
                    connection.await;
                }
            }
        }
        drop(slot);
    }
}

/// The token in the first message: `{"authorization": "Bearer KEY"}`, or `{"key": "KEY"}`.
fn token(payload: &serde_json::Value) -> contract::Result<Secret> {
    let named = |name: &str| payload.get(name).and_then(serde_json::Value::as_str);
    let bearer = named("authorization").or_else(|| named("Authorization"));
    let bearer = bearer.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    let token = bearer.or_else(|| named("key")).map(|token| Secret::new(token.to_owned()));
    token.ok_or_else(|| {
        let message = "name the API key in `connection_init`: {\"authorization\": \"Bearer KEY\"}";
        Error::new(ErrorCode::Unauthenticated, message)
    })
}
