//! Which headers of a request are kept with its event, and which of them carry credentials.

use contract::{event::Headers, exchange::Credentials};
use http::HeaderMap;

/// Headers that say nothing about the event: they steer the connection (RFC 9110, 7.6.1), describe
/// the way between proxies, or are kept elsewhere with the event. A name that ends with `*` stands
/// for all that begin so.
const DROPPED: &[&str] = &[
    // The connection and the message.
    "connection",
    "keep-alive",
    "proxy-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "content-length",
    "content-encoding",
    "accept*",
    "cache-control",
    "pragma",
    "date",
    "priority",
    "sec-*",
    "http2-settings",
    // The way here.
    "forwarded",
    "via",
    "x-forwarded-*",
    "x-real-ip",
    // Fields of the event, or headers that a delivery makes anew.
    "content-type",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "certes-*",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "hmac-sig",
];

/// Chooses the headers to keep.
#[derive(Debug)]
pub(crate) struct Keeper {
    credentials: Credentials,
}

impl Keeper {
    /// With more names of credential-bearing headers than the built-in ones.
    pub(crate) fn new(more_credentials: &[String]) -> Self {
        Self { credentials: Credentials::new(more_credentials) }
    }

    /// The headers to keep, in the order received, bounded in number and size: what does not fit
    /// is left out whole.
    pub(crate) fn keep(&self, headers: &HeaderMap) -> Headers {
        let wanted = |name: &str| self.credentials.include(name) || !is_dropped(name);
        let text =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        self.credentials.keep(text.filter(|(name, _)| wanted(name)))
    }
}

fn is_dropped(name: &str) -> bool {
    DROPPED.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{
        limits::{HEADERS_KEPT_BYTES_MAX, HEADERS_KEPT_MAX},
        secret::Secret,
    };

    fn keep(pairs: &[(&'static str, &str)]) -> Headers {
        let headers = pairs.iter().map(|(name, value)| {
            (name.to_ascii_lowercase().parse().unwrap(), value.parse().unwrap())
        });
        Keeper::new(&["X-Door-Code".to_owned(), "*-ticket".to_owned()]).keep(&headers.collect())
    }

    #[test]
    fn event_headers_stay_and_the_rest_goes() {
        let kept = keep(&[
            ("Host", "example.com"),
            ("User-Agent", "GitHub-Hookshot/1"),
            ("X-GitHub-Event", "push"),
            ("X-Hub-Signature-256", "sha256=00"),
            ("Accept-Encoding", "gzip"),
            ("Connection", "close"),
            ("Content-Length", "3"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("Certes-Hops", "1"),
            ("webhook-id", "msg_1"),
        ]);
        let names: Vec<_> = kept.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["user-agent", "x-github-event", "x-hub-signature-256"]);
    }

    #[test]
    fn credentials_are_kept_as_fingerprints() {
        let names = [
            "authorization",
            "cookie",
            "x-gitlab-token",
            "x-api-key",
            "proxy-authorization",
            "x-shop-access-token",
            "x-door-code",
            "x-parking-ticket",
        ];
        for name in names {
            let kept = keep(&[(name, "hunter2-hunter2")]);
            let value = kept.get(name).unwrap();
            assert_eq!(value, format!("*** {}", Secret::new("hunter2-hunter2").fingerprint()));
        }
    }

    #[test]
    fn number_and_size_are_bounded() {
        let mut many = HeaderMap::new();
        for at in 0..200 {
            let name: http::HeaderName = format!("x-{at}").parse().unwrap();
            many.insert(name, "v".parse().unwrap());
        }
        let keeper = Keeper::new(&[]);
        assert_eq!(keeper.keep(&many).0.len(), HEADERS_KEPT_MAX);

        let mut large = HeaderMap::new();
        large.insert("x-large", "v".repeat(HEADERS_KEPT_BYTES_MAX).parse().unwrap());
        large.insert("x-small", "v".parse().unwrap());
        assert_eq!(keeper.keep(&large).0, [("x-small".to_owned(), "v".to_owned())]);
    }
}
