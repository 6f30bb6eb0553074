//! Reading a body: bounded in size, in time, and in what all bodies hold together.

use crate::config::Config;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use contract::{Error, ErrorCode, Result};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use prometheus_client::metrics::gauge::Gauge;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room asked for at once, whatever length a sender announces: it has sent nothing yet.
const FIRST_ROOM_BYTES_MAX: usize = 1024 * 1024;

/// All bodies in flight.
#[derive(Debug)]
pub(crate) struct Bodies {
    budget: Arc<Semaphore>,
    gauge: Gauge,
    read_timeout: Duration,
    retry_after: Duration,
}

/// A whole body; it counts against the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    _held: Held,
}

/// Bytes taken from the budget.
#[derive(Debug)]
struct Held {
    permit: Option<OwnedSemaphorePermit>,
    gauge: Gauge,
}

/// `body_too_large` when the announced length alone exceeds `max`, and `unsupported_media_type`
/// when the body is compressed: what is signed, checked and delivered are the bytes as sent.
pub(crate) fn check_length(headers: &HeaderMap, max: usize) -> Result<()> {
    if let Some(length) = announced(headers)
        && length > max as u64
    {
        return Err(too_large(max));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let message = "a compressed body cannot be read; send it without `content-encoding`";
            Err(Error::new(ErrorCode::UnsupportedMediaType, message))
        }
        _ => Ok(()),
    }
}

impl Bodies {
    pub(crate) fn new(config: &Config, gauge: Gauge) -> Self {
        let bytes = config.bodies_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            budget: Arc::new(Semaphore::new(bytes)),
            gauge,
            read_timeout: config.body_read_timeout.0,
            retry_after: config.retry_after.0,
        }
    }

    /// Reads a body of at most `max` bytes. Errors: `body_too_large` as soon as it is seen,
    /// `request_timeout`, `unavailable` when all bodies together hold too much.
    pub(crate) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        max: usize,
    ) -> Result<Received> {
        check_length(headers, max)?;
        let room = announced(headers).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        match tokio::time::timeout(self.read_timeout, self.collect(body, room, max)).await {
            Ok(result) => result,
            Err(_elapsed) => {
                let limit = self.read_timeout.as_secs_f64();
                let message = format!("the body did not arrive within {limit} s");
                Err(Error::new(ErrorCode::RequestTimeout, message))
            }
        }
    }

    async fn collect(&self, mut body: Body, room: usize, max: usize) -> Result<Received> {
        let mut held = Held { permit: None, gauge: self.gauge.clone() };
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                tracing::debug!(%error, "body broke off");
                Error::new(ErrorCode::InvalidRequest, "the body broke off before its end")
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > max - size {
                return Err(too_large(max));
            }
            size += data.len();
            held.take(&self.budget, data.len()).ok_or_else(|| self.exhausted())?;
            // Most bodies come in one frame, and are then taken without a copy.
            if first.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                whole.reserve(room.clamp(size, FIRST_ROOM_BYTES_MAX.max(size)));
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
        let bytes = if whole.is_empty() { first } else { whole.freeze() };
        Ok(Received { bytes, _held: held })
    }

    fn exhausted(&self) -> Error {
        let message = "the bodies in flight hold too much memory";
        Error::new(ErrorCode::Unavailable, message).retry_after(self.retry_after)
    }
}

impl Held {
    /// Takes `bytes` more, or None: the budget is exhausted.
    fn take(&mut self, budget: &Arc<Semaphore>, bytes: usize) -> Option<()> {
        let count = u32::try_from(bytes).ok()?;
        let more = Arc::clone(budget).try_acquire_many_owned(count).ok()?;
        self.gauge.inc_by(i64::from(count));
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Some(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.gauge.dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(max: usize) -> Error {
    Error::new(ErrorCode::BodyTooLarge, format!("the body may have at most {max} bytes"))
}
