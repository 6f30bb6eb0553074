//! Which kept headers of an event travel on to the subscriber.

use contract::{event::Headers, sending::travels};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Adds those of the `kept` headers that travel on.
pub(crate) fn pass_on(kept: &Headers, headers: &mut HeaderMap) {
    for (name, value) in &kept.0 {
        let name = name.to_ascii_lowercase();
        // What was hidden at the door under another name is of no use to anybody, either.
        if !travels(&name) || value.starts_with("*** ") {
            continue;
        }
        // What came in as a header is one; anything else was put there otherwise and is left out.
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
}

/// Takes away the attributes that an event had as a CloudEvent: they are sent in another way.
pub(crate) fn drop_attributes(headers: &mut HeaderMap) {
    let names: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("ce-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The headers that a subscription adds; they were checked when it was declared.
pub(crate) fn custom(declared: &Headers) -> HeaderMap {
    let header = |(name, value): &(String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    declared.0.iter().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_event_travel_and_others_do_not() {
        let travelling = ["x-github-event", "x-github-delivery", "tracestate", "content-encoding"];
        #[rustfmt::skip]
        let staying = [
            "Connection", "transfer-encoding", "te", "host", "content-length", "content-type",
            "user-agent", "authorization", "cookie", "set-cookie", "x-gitlab-token", "x-api-key",
            "x-hub-signature", "x-hub-signature-256", "stripe-signature", "x-shopify-hmac-sha256",
            "paypal-transmission-sig", "webhook-id", "webhook-signature", "svix-id", "certes-hops",
            "Certes-Delivery", "hmac-sig", "traceparent", "proxy-authorization", "x-forwarded-for",
            "not a name",
        ];
        let all = travelling.iter().chain(&staying);
        let kept = Headers(all.map(|name| ((*name).to_owned(), "1".to_owned())).collect());
        let mut headers = HeaderMap::new();
        pass_on(&kept, &mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, travelling);
    }

    #[test]
    fn several_values_stay_several_and_none_can_break_the_request() {
        let hidden = ("x-d", "*** 0123456789abcdef");
        let pairs = [("x-a", "1"), ("x-a", "2"), ("x-b", "evil\r\nx-c: 3"), hidden];
        let kept = Headers(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
        let mut headers = HeaderMap::new();
        pass_on(&kept, &mut headers);
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert_eq!(headers.len(), 2);
    }
}
