//! What is kept of an exchange: headers with credentials hidden, and the body of the answer up to a
//! bound.

use crate::config::Config;
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    event::Headers,
    exchange::{Credentials, ExchangeRecord, usual_headers},
    master_api::Work,
    secret::Secret,
};
use http::{HeaderMap, Request, header};
use hyper::body::Body;

/// How a hidden value begins.
const HIDDEN: &str = "*** ";

/// Keeps what the settings say.
#[derive(Debug)]
pub(crate) struct Keeper {
    credentials: Credentials,
    headers: bool,
    body_bytes: usize,
}

impl Keeper {
    /// With the settings of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            credentials: Credentials::new(&config.credential_headers),
            headers: config.headers_kept,
            body_bytes: usize::try_from(config.response_kept_bytes).unwrap_or(usize::MAX),
        }
    }

    /// What is kept of a request that is about to be sent; None: nothing.
    pub(crate) fn request(
        &self,
        request: &Request<impl Body>,
        work: &Work,
        started_at: Timestamp,
    ) -> Option<Box<ExchangeRecord>> {
        if !self.headers {
            return (self.body_bytes > 0).then(Box::default);
        }
        // The client adds these two by itself.
        let host = request.uri().authority().map(|host| (header::HOST.as_str(), host.as_str()));
        let length = request.body().size_hint().exact().unwrap_or_default().to_string();
        let length = (header::CONTENT_LENGTH.as_str(), length.as_str());
        let own = host.into_iter().chain([length]);
        let mut sent = self.credentials.keep(own.chain(text(request.headers())));
        hide_sensitive(request.headers(), &mut sent);
        let delivery = &work.delivery;
        let usual = usual_headers(&work.event, delivery.id, delivery.next_attempt(), started_at);
        Some(Box::new(ExchangeRecord::of_request(&sent, &usual)))
    }

    /// Takes down the headers of an answer.
    pub(crate) fn response_headers(&self, headers: &HeaderMap) -> Headers {
        if self.headers { self.credentials.keep(text(headers)) } else { Headers::default() }
    }

    /// The part of a body that is kept, and whether that is not all of it.
    pub(crate) fn body(&self, body: &[u8]) -> (Bytes, bool) {
        let kept = &body[..body.len().min(self.body_bytes)];
        (Bytes::copy_from_slice(kept), kept.len() < body.len())
    }
}

/// A header that proves who sends may have any name.
fn hide_sensitive(headers: &HeaderMap, kept: &mut Headers) {
    let sensitive = headers.iter().filter(|(_, value)| value.is_sensitive());
    let names: Vec<_> = sensitive.map(|(name, _)| name.as_str()).collect();
    for (name, value) in &mut kept.0 {
        if names.contains(&name.as_str()) && !value.starts_with(HIDDEN) {
            *value = format!("{HIDDEN}{}", Secret::new(std::mem::take(value)).fingerprint());
        }
    }
}

fn text(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
}
