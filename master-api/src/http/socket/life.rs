//! One WebSocket, from its first message to the frame that closes it.

use super::farewell::Farewell;
use crate::graphql::{ApiSchema, Connected, Kept, error};
use async_graphql::{
    Data,
    futures_util::{
        SinkExt, StreamExt, future,
        stream::{SplitSink, SplitStream},
    },
    http::{ClientMessage, WebSocket as Conversation, WebSocketProtocols, WsMessage},
};
use axum::extract::ws::{Message, WebSocket};
use contract::{
    Error, ErrorCode,
    authenticate::{Authenticate, Holder},
    secret::Secret,
};
use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

/// How long a client may take for its first message.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that was silent for so long is asked by a ping, and closed if it is silent for as long
/// again.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// How long a client may take nothing of what is sent to it.
const SENDING_TIMEOUT: Duration = Duration::from_secs(120);
/// Questions of one client that are being answered at once.
const RUNNING_MAX: usize = 64;

/// One connection.
pub(super) struct Life {
    pub(super) schema: ApiSchema,
    /// The token of its header.
    pub(super) named: Option<Secret>,
    pub(super) who: Arc<dyn Authenticate>,
    pub(super) slot: OwnedSemaphorePermit,
}

impl Life {
    pub(super) async fn serve(self, socket: WebSocket) {
        let Self { schema, named, who, slot } = self;
        let (sink, stream) = socket.split();
        let talk = Arc::<Talk>::default();
        let farewell = converse(Connected(schema), (named, who), &talk, sink, stream);
        farewell.await;
        drop(slot);
    }
}

/// Closes the connection, if the client is still there to be told why.
pub(super) async fn close(mut sink: impl SinkExt<Message> + Unpin, why: Farewell) {
    let told = timeout(SENDING_TIMEOUT, sink.send(Message::Close(Some(why.into())))).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!("a WebSocket was gone before it was closed");
    }
}

async fn converse(
    schema: Connected,
    (named, who): (Option<Secret>, Arc<dyn Authenticate>),
    talk: &Arc<Talk>,
    mut sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
) {
    let (reading, beginning) = (Arc::clone(talk), Arc::clone(talk));
    let messages = stream
        .take_while(|frame| future::ready(frame.is_ok()))
        .filter_map(move |frame| future::ready(frame.ok().and_then(|frame| reading.read(frame))));
    let begin = |payload| async move { beginning.begin(named, who, payload).await };
    let protocol = WebSocketProtocols::GraphQLWS;
    let answers = Conversation::from_message_stream(schema, messages, protocol);
    let mut answers = pin!(answers.on_connection_init(begin));
    let mut late = pin!(sleep(OPENING_TIMEOUT));
    let mut silence = Silence::new();
    loop {
        let message = tokio::select! {
            answer = answers.next() => match answer {
                Some(WsMessage::Text(text)) => Message::Text(text.into()),
                Some(WsMessage::Close(code, reason)) => {
                    let why = talk.farewell.get().cloned();
                    let why = why.unwrap_or_else(|| Farewell::of_library(code, reason));
                    return close(sink, why).await;
                }
                None => return,
            },
            () = &mut late, if !talk.begun.load(Ordering::Relaxed) => {
                return close(sink, Farewell::late()).await;
            }
            heard = silence.tick(talk) => match heard {
                Heard::Something => continue,
                Heard::Nothing => Message::Ping(Vec::new().into()),
                Heard::NothingAgain => return close(sink, Farewell::silent()).await,
            },
        };
        if !matches!(timeout(SENDING_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Looks now and then whether the client was heard.
struct Silence {
    interval: Interval,
    asked: bool,
}

enum Heard {
    Something,
    Nothing,
    NothingAgain,
}

impl Silence {
    fn new() -> Self {
        let mut interval = interval(KEEPALIVE);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, asked: false }
    }

    async fn tick(&mut self, talk: &Talk) -> Heard {
        self.interval.tick().await;
        if talk.heard.swap(false, Ordering::Relaxed) {
            self.asked = false;
            return Heard::Something;
        }
        if std::mem::replace(&mut self.asked, true) { Heard::NothingAgain } else { Heard::Nothing }
    }
}

/// What the two directions of a connection know of each other.
#[derive(Debug)]
struct Talk {
    /// Its first message was accepted.
    begun: AtomicBool,
    /// Something came since the last look.
    heard: AtomicBool,
    /// Why it is about to be closed, if it is we who found out.
    farewell: OnceLock<Farewell>,
    /// Ids of questions that are being answered.
    running: Arc<Mutex<HashSet<String>>>,
}

impl Default for Talk {
    fn default() -> Self {
        let (begun, heard) = (AtomicBool::new(false), AtomicBool::new(true));
        Self { begun, heard, farewell: OnceLock::new(), running: Arc::default() }
    }
}

/// A question that is being answered, for as long as it lives.
struct Running {
    ids: Arc<Mutex<HashSet<String>>>,
    id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        locked(&self.ids).remove(&self.id);
    }
}

fn locked(ids: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Talk {
    /// A frame as a message of the protocol; an error closes the connection.
    fn read(&self, frame: Message) -> Option<serde_json::Result<ClientMessage>> {
        self.heard.store(true, Ordering::Relaxed);
        if !matches!(frame, Message::Text(_) | Message::Binary(_)) {
            return None;
        }
        let read = match ClientMessage::from_bytes(frame.into_data()) {
            Ok(ClientMessage::Start { id, payload }) => self.running(id.clone()).map(|running| {
                ClientMessage::Start { id, payload: payload.data(Kept(Arc::new(running))) }
            }),
            Ok(ClientMessage::ConnectionTerminate) | Err(_) => {
                Err(Farewell::invalid("this is no message of graphql-transport-ws"))
            }
            Ok(message) => Ok(message),
        };
        Some(read.map_err(|why| {
            let _first = self.farewell.get_or_init(|| why);
            serde::de::Error::custom("closed")
        }))
    }

    fn running(&self, id: String) -> Result<Running, Farewell> {
        let mut ids = locked(&self.running);
        if ids.len() >= RUNNING_MAX {
            let reason = format!("at most {RUNNING_MAX} subscriptions and queries at once");
            return Err(Farewell::invalid(reason));
        }
        if !ids.insert(id.clone()) {
            return Err(Farewell::duplicate(&id));
        }
        Ok(Running { ids: Arc::clone(&self.running), id })
    }

    /// Who asks, by the first message or the header of the request.
    async fn begin(
        &self,
        named: Option<Secret>,
        who: Arc<dyn Authenticate>,
        payload: serde_json::Value,
    ) -> async_graphql::Result<Data> {
        let known = async {
            let token = named.map_or_else(|| token(&payload), Ok)?;
            let principal = who.authenticate(&token).await?;
            Ok((token, principal))
        };
        let (token, principal) = known.await.map_err(|refusal: Error| {
            let message = refusal.message.clone();
            let _first = self.farewell.get_or_init(|| match refusal.code {
                ErrorCode::Unauthenticated => Farewell::forbidden(message),
                _ => Farewell::unavailable("it cannot be told now who asks: try again"),
            });
            error(&refusal)
        })?;
        let mut data = Data::default();
        data.insert(Holder::new(who, token, principal.clone()));
        data.insert(principal);
        self.begun.store(true, Ordering::Relaxed);
        Ok(data)
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
