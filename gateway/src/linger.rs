//! Lets a client finish sending a body that nobody reads any more.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Version, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::runtime::Handle;

/// A request body that, when it is dropped half read, is read on for a while and thrown away.
///
/// A server that closes a connection on which data is still arriving makes the kernel reset it,
/// and the reset may overtake the answer: the client would see a broken connection instead of the
/// 413 or 401 that says why. Only HTTP/1 needs this; HTTP/2 can end one stream alone.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    patience: Duration,
}

/// Wraps the body of a request where that is of use.
pub(crate) fn body(
    body: Incoming,
    version: Version,
    headers: &HeaderMap,
    patience: Duration,
) -> Body {
    // A client that waits for `100 Continue` has sent nothing yet.
    let waits = headers.contains_key(header::EXPECT);
    if version >= Version::HTTP_2 || waits || body.is_end_stream() {
        return Body::new(body);
    }
    Body::new(Lingering { body: Some(body), patience })
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let patience = self.patience;
        runtime.spawn(async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            if tokio::time::timeout(patience, rest).await.is_err() {
                tracing::debug!("client still sends what nobody reads, closing");
            }
        });
    }
}
