//! What went over the wire in an attempt: the headers of the request, and the answer.
//!
//! Most headers of a request follow from the event and the delivery. They are not kept a second
//! time: an attempt keeps how its request differed from the [`usual_headers`], and is shown with
//! both put together.

use crate::{
    clock::Timestamp,
    event::{Event, Headers},
    id::DeliveryId,
    limits::{HEADERS_KEPT_BYTES_MAX, HEADERS_KEPT_MAX},
    secret::Secret,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What went over the wire in an attempt, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchange {
    /// Number of the attempt.
    pub number: u32,
    /// Headers as sent; credentials are replaced.
    pub request_headers: Headers,
    /// Headers of the answer; credentials are replaced. Empty: there was no answer.
    pub response_headers: Headers,
    /// Body of the answer, from its beginning.
    pub response_body: Bytes,
    /// The answer had more than is kept of it.
    pub response_cut: bool,
}

/// What went over the wire in an attempt, as it is kept beside the payload of its event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExchangeRecord {
    /// Names of usual headers that were not sent, or not as usual.
    #[serde(rename = "o", skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Headers that were sent beside the usual ones.
    #[serde(rename = "a", skip_serializing_if = "Headers::is_empty")]
    pub added: Headers,
    /// Headers of the answer.
    #[serde(rename = "r", skip_serializing_if = "Headers::is_empty")]
    pub response_headers: Headers,
    /// Body of the answer, from its beginning.
    #[serde(rename = "b", skip_serializing_if = "Bytes::is_empty")]
    pub response_body: Bytes,
    /// The answer had more than is kept of it.
    #[serde(rename = "c", skip_serializing_if = "std::ops::Not::not")]
    pub response_cut: bool,
}

/// Headers that an attempt usually sends: those of the event, and what names the delivery.
///
/// **How this may change.** Never: what is kept of every attempt so far is read against it. A
/// request that has other headers is kept with the difference.
pub fn usual_headers(
    event: &Event,
    delivery: DeliveryId,
    number: u32,
    started_at: Timestamp,
) -> Headers {
    let own = [
        ("content-type", event.content_type.clone()),
        ("content-length", event.size.to_string()),
        ("webhook-id", event.id.to_string()),
        ("webhook-timestamp", started_at.unix_seconds().to_string()),
        ("certes-delivery", delivery.to_string()),
        ("certes-event-type", event.uri.to_string()),
        ("certes-attempt", number.to_string()),
        ("certes-hops", event.trace.hops.saturating_add(1).to_string()),
        ("traceparent", event.trace.traceparent.clone()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    Headers(own.chain(event.headers.0.iter().cloned()).collect())
}

impl ExchangeRecord {
    /// Takes down how the headers that were `sent` differ from the `usual` ones.
    pub fn of_request(sent: &Headers, usual: &Headers) -> Self {
        let names: BTreeSet<&str> = usual.0.iter().map(|(name, _)| name.as_str()).collect();
        let same = |name: &str| values(sent, name).eq(values(usual, name));
        let other: BTreeSet<&str> = names.iter().copied().filter(|name| !same(name)).collect();
        let added = sent
            .0
            .iter()
            .filter(|(name, _)| other.contains(name.as_str()) || !names.contains(name.as_str()));
        Self {
            added: Headers(added.cloned().collect()),
            left_out: other.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// All of it, for an attempt that had the `usual` headers.
    pub fn into_exchange(self, number: u32, usual: Headers) -> Exchange {
        let sent = usual.0.into_iter().filter(|(name, _)| !self.left_out.contains(name));
        Exchange {
            number,
            request_headers: Headers(sent.chain(self.added.0).collect()),
            response_headers: self.response_headers,
            response_body: self.response_body,
            response_cut: self.response_cut,
        }
    }

    /// About how many bytes it has.
    pub fn size(&self) -> usize {
        let of =
            |headers: &Headers| headers.0.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        of(&self.added) + of(&self.response_headers) + self.response_body.len()
    }
}

fn values<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Headers that carry credentials: kept as `***` and a fingerprint, so that two requests can be
/// compared and no key can be read. `*-token` stands for every name with that ending.
const CREDENTIALS: [&str; 14] = [
    "authorization",
    "cookie",
    "set-cookie",
    "api-key",
    "apikey",
    "token",
    "x-gitlab-token",
    "x-goog-channel-token",
    "*-token",
    "*-secret",
    "*-password",
    "*-api-key",
    "*-apikey",
    "*-authorization",
];

/// Tells headers that carry credentials from others.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Vec<String>);

impl Credentials {
    /// With more names than the built-in ones.
    pub fn new(more: &[String]) -> Self {
        Self(more.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Does the header of this name, in lower case, carry a credential?
    pub fn include(&self, name: &str) -> bool {
        let all = CREDENTIALS.iter().copied().chain(self.0.iter().map(String::as_str));
        all.into_iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(ending) => name.ends_with(ending),
            None => name == pattern,
        })
    }

    /// The value of a header as it may be kept.
    pub fn hide(&self, name: &str, value: &str) -> String {
        if self.include(name) {
            format!("*** {}", Secret::new(value).fingerprint())
        } else {
            value.to_owned()
        }
    }

    /// Headers as they may be kept, bounded in number and size; what does not fit is left out
    /// whole.
    pub fn keep<'a>(&self, headers: impl Iterator<Item = (&'a str, &'a str)>) -> Headers {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for (name, value) in headers {
            let value = self.hide(name, value);
            let size = name.len() + value.len();
            if kept.len() < HEADERS_KEPT_MAX && bytes + size <= HEADERS_KEPT_BYTES_MAX {
                bytes += size;
                kept.push((name.to_owned(), value));
            }
        }
        Headers(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = Headers> {
        prop::collection::vec(("[a-d]", "[0-3]"), 0..8).prop_map(Headers)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_keeping_the_difference(sent in headers(), usual in headers()) {
            let record = ExchangeRecord::of_request(&sent, &usual);
            let shown = record.into_exchange(1, usual).request_headers;
            for name in ["a", "b", "c", "d"] {
                let (shown, sent) = (values(&shown, name), values(&sent, name));
                prop_assert_eq!(shown.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_usual_is_not_kept() {
        let sent = Headers(vec![("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(ExchangeRecord::of_request(&sent, &sent), ExchangeRecord::default());
    }

    #[test]
    fn credentials_are_hidden_and_headers_bounded() {
        let more = Credentials::new(&["X-Door-Code".to_owned(), "*-ticket".to_owned()]);
        for name in ["authorization", "x-shop-token", "x-door-code", "my-ticket", "set-cookie"] {
            let hidden = more.hide(name, "open sesame");
            assert!(hidden.starts_with("*** ") && !hidden.contains("sesame"), "{name}");
        }
        assert_eq!(more.hide("x-code", "1"), "1");
        let long = "v".repeat(1000);
        let kept = more.keep((0..100).map(|_| ("x", long.as_str())));
        assert_eq!(kept.0.len(), HEADERS_KEPT_BYTES_MAX / 1001);
        let kept = more.keep((0..100).map(|_| ("x", "1")));
        assert_eq!(kept.0.len(), HEADERS_KEPT_MAX);
    }
}
