//! Headers: which of an event travel on, and which a subscription may add.

use crate::{
    event::{CREDENTIAL_HEADERS, Headers},
    limits::{CUSTOM_HEADERS_BYTES_MAX, CUSTOM_HEADERS_MAX},
};

/// Headers that belong to one connection or to one request, not to the event (RFC 9110, section
/// 7.6.1, and those that proxies on our side of the door have added).
const OF_ONE_REQUEST: [&str; 26] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A name that contains one of these carries a credential, or a signature that was made for
/// another request.
const OF_A_CREDENTIAL: [&str; 12] = [
    "signature",
    "-sig",
    "hmac",
    "authorization",
    "authenticat",
    "x-auth",
    "token",
    "secret",
    "password",
    "cookie",
    "api-key",
    "apikey",
];

/// What the server alone may say.
const OF_THE_SERVER: [&str; 4] = ["webhook-", "svix-", "certes-", "hmac-sig"];
/// What describes the body, which is the server's to say where it sends one.
const OF_THE_BODY: [&str; 2] = ["content-", "ce-"];

/// Does a header that was kept with an event go to its subscribers? `name` is in lower case.
pub fn travels(name: &str) -> bool {
    !OF_ONE_REQUEST.contains(&name) && !carries_credential(name) && !starts(name, &OF_THE_SERVER)
}

fn carries_credential(name: &str) -> bool {
    CREDENTIAL_HEADERS.contains(&name) || OF_A_CREDENTIAL.iter().any(|part| name.contains(part))
}

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Headers that a subscription adds, names in lower case, sorted.
pub fn custom_headers(given: impl IntoIterator<Item = (String, String)>) -> Headers {
    let lower = given.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut headers: Vec<_> = lower.collect();
    headers.sort();
    Headers(headers)
}

/// A sentence on what is wrong with the headers that a subscription adds, if anything is.
pub fn check_headers(headers: &Headers) -> Result<(), String> {
    let Headers(pairs) = headers;
    if pairs.len() > CUSTOM_HEADERS_MAX {
        return Err(format!("headers: at most {CUSTOM_HEADERS_MAX}"));
    }
    if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        > CUSTOM_HEADERS_BYTES_MAX
    {
        return Err(format!("headers: at most {CUSTOM_HEADERS_BYTES_MAX} bytes together"));
    }
    if let Some([(name, _), _]) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("headers: `{name}` comes twice"));
    }
    pairs.iter().try_for_each(|(name, value)| {
        check_name(name).map_err(|why| format!("headers: {why}"))?;
        if carries_credential(name) {
            let how = format!("auth: {{header: {{name: {name}, value: ...}}}}");
            return Err(format!(
                "headers: `{name}` carries a credential, which people would see here; write {how}"
            ));
        }
        check_value(value).map_err(|why| format!("headers: the value of `{name}` {why}"))
    })
}

/// May a subscription set the header of this name?
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let shown: String = name.chars().take(80).collect();
    let is_token =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{shown}` is no name of a header in lower case"));
    }
    let whose = match name {
        _ if starts(name, &OF_THE_SERVER) => "the server's own",
        _ if starts(name, &OF_THE_BODY) => "the server's own, which describes the body",
        _ if OF_ONE_REQUEST.contains(&name) => "of one connection or request",
        _ => return Ok(()),
    };
    Err(format!("`{shown}` cannot be set: it is {whose}"))
}

/// What a header may have as its value (RFC 9110, section 5.5, without obsolete bytes).
pub(super) fn check_value(value: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
    match value.bytes().all(fits) && value.trim() == value {
        true => Ok(()),
        false => Err("has to be printable ASCII without space at its ends"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Headers {
        custom_headers([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn headers_that_are_not_a_subscriptions_to_set_are_refused() {
        for name in ["X-Tenant", "x-env", "accept", "cache-control", "tracestate", "from"] {
            assert_eq!(check_headers(&one(name, "a, b;c=\"d\"")), Ok(()), "{name}");
        }
        #[rustfmt::skip]
        let forbidden = [
            ("Host", "connection"), ("Connection", "connection"), ("transfer-encoding", "connection"),
            ("TE", "connection"), ("upgrade", "connection"), ("trailer", "connection"),
            ("proxy-authorization", "connection"), ("User-Agent", "connection"),
            ("traceparent", "connection"), ("x-forwarded-for", "connection"),
            ("content-type", "describes the body"), ("Content-Length", "describes the body"),
            ("content-encoding", "describes the body"), ("ce-id", "describes the body"),
            ("Webhook-Id", "server's own"), ("webhook-x", "server's own"), ("svix-id", "server's own"),
            ("certes-attempt", "server's own"), ("Hmac-Sig", "server's own"),
            ("Authorization", "auth: {header:"), ("x-api-key", "auth: {header:"),
            ("x-gitlab-token", "auth: {header:"), ("cookie", "auth: {header:"),
            ("x tenant", "no name of a header"), ("", "no name of a header"), ("x:y", "no name"),
            ("größe", "no name of a header"),
        ];
        for (name, part) in forbidden {
            let why = check_headers(&one(name, "1")).unwrap_err();
            assert!(why.contains(part), "{name}: {why}");
        }
    }

    #[test]
    fn values_and_numbers_of_headers_are_bounded() {
        for value in ["a\r\nx-evil: 1", "a\0", " a", "größe"] {
            assert!(check_headers(&one("x-a", value)).unwrap_err().contains("printable ASCII"));
        }
        let many = |count: usize, bytes: usize| {
            let value = "v".repeat(bytes);
            let each = (0..count).map(|n| (format!("x-{n}"), value.clone()));
            check_headers(&custom_headers(each))
        };
        assert_eq!(many(CUSTOM_HEADERS_MAX, 1), Ok(()));
        assert!(many(CUSTOM_HEADERS_MAX + 1, 1).unwrap_err().contains("at most"));
        assert!(many(2, CUSTOM_HEADERS_BYTES_MAX / 2).unwrap_err().contains("bytes together"));
        let twice = custom_headers([("X-A", "1"), ("x-a", "2")].map(|(n, v)| (n.into(), v.into())));
        assert!(check_headers(&twice).unwrap_err().contains("`x-a` comes twice"));
    }
}
