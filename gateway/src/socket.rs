//! A socket with time limits: for its first bytes, and for writes that make no progress.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};

/// Length of the HTTP/2 connection preface (RFC 9113, 3.4). Until that much has come, the version
/// may still be unknown, and no limit of the HTTP layer holds.
const PREFACE_BYTES: usize = 24;

/// A connection that cannot be held open by doing nothing. It gives its slot back when it is
/// dropped, also after an upgrade.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Runs until enough has been read, or anything was answered.
    opening: Option<Pin<Box<Sleep>>>,
    read_bytes: usize,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    stall_timeout: Duration,
    _slot: OwnedSemaphorePermit,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        opening_timeout: Duration,
        stall_timeout: Duration,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let opening = Some(Box::pin(sleep(opening_timeout)));
        Self { stream, opening, read_bytes: 0, stalled: None, stall_timeout, _slot: slot }
    }

    /// Passes the outcome of a write on; one that waits longer than allowed fails.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            self.opening = None;
            return outcome;
        }
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.opening.is_some() {
            self.read_bytes += buf.filled().len() - before;
            if self.read_bytes >= PREFACE_BYTES {
                self.opening = None;
            }
        }
        match (outcome.is_pending(), &mut self.opening) {
            (true, Some(opening)) => {
                ready!(opening.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came")))
            }
            _ => outcome,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.progress(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.progress(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
