//! `GET /backup`: the log as of now, as a stream, for whoever may do everything.

use super::{Source, write};
use crate::MasterApi;
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use contract::{
    Error, ErrorCode, Result,
    access::{Principal, Roles},
};
use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::mpsc, task::spawn_blocking, time::timeout};

/// Blocks that wait for whoever reads.
const PIECES_WAITING_MAX: usize = 4;
/// How long whoever reads may take for one of them.
const PIECE_PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a piece.
const PIECE_BYTES: usize = 256 << 10;

/// The route, to be mounted below `/api` by whoever puts a [`Principal`] into the extensions.
pub fn router(api: Arc<MasterApi>) -> Router {
    Router::new().route("/backup", get(stream)).with_state(api)
}

async fn stream(
    State(api): State<Arc<MasterApi>>,
    principal: Option<Extension<Principal>>,
) -> Response {
    if let Err(error) = allow(principal.as_deref()) {
        let status = match error.code {
            ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        };
        let problem = serde_json::json!({ "code": error.code.as_str(), "detail": error.message });
        return (status, Json(problem)).into_response();
    }
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING_MAX);
    let runtime = Handle::current();
    spawn_blocking(move || {
        let source = Source::of(&*api.shared.store);
        let sink = Pieces { pieces: pieces.clone(), runtime: runtime.clone(), piece: Vec::new() };
        if let Err(error) = write(&source, sink, &|_what, _done, _all| ()) {
            tracing::warn!(%error, "a backup broke off");
            // The stream must not look whole; whoever reads may have gone.
            let broken = pieces.send(Err(io::Error::other("the backup broke off")));
            drop(runtime.block_on(timeout(PIECE_PATIENCE, broken)));
        }
    });
    let body = futures_util::stream::unfold(waiting, |mut waiting| async move {
        waiting.recv().await.map(|piece| (piece, waiting))
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response()
}

/// What is in a backup is everything, so it takes every role, and a key that sees everybody.
fn allow(principal: Option<&Principal>) -> Result<()> {
    let nobody = || Error::new(ErrorCode::Unauthenticated, "a backup needs an API key");
    principal.ok_or_else(nobody)?.may_give(&Roles::admin(), None)
}

/// Hands on what is written in pieces, as fast as they are taken.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let sent = self.runtime.block_on(timeout(PIECE_PATIENCE, self.pieces.send(Ok(piece))));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(io::Error::other("whoever reads it is gone")),
            Err(_elapsed) => Err(io::Error::other("whoever reads it is too slow")),
        }
    }
}
