//! URIs (RFC 3986).

use super::addresses::is_ipv6;

/// A URI with a scheme.
pub(super) fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && is_reference(rest, true))
}

/// A URI or a relative reference.
pub(super) fn is_uri_ref(text: &str) -> bool {
    is_uri(text) || is_reference(text, false)
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Everything after the scheme, or all of a relative reference.
fn is_reference(text: &str, after_scheme: bool) -> bool {
    let (text, fragment) = match text.split_once('#') {
        Some((text, fragment)) => (text, fragment),
        None => (text, ""),
    };
    let (text, query) = match text.split_once('?') {
        Some((text, query)) => (text, query),
        None => (text, ""),
    };
    if !consists_of(query, b":@/?") || !consists_of(fragment, b":@/?") {
        return false;
    }
    let Some(rest) = text.strip_prefix("//") else {
        // Without a scheme, a colon in the first segment would read as one.
        let first = text.split('/').next().unwrap_or("");
        return consists_of(text, b":@/") && (after_scheme || !first.contains(':'));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    is_authority(authority) && consists_of(path, b":@/")
}

fn is_authority(authority: &str) -> bool {
    let (user, host_port) = match authority.split_once('@') {
        Some((user, host_port)) => (user, host_port),
        None => ("", authority),
    };
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, "")) => (is_ip_literal(inside), ""),
            Some((inside, rest)) => match rest.strip_prefix(':') {
                Some(port) => (is_ip_literal(inside), port),
                None => return false,
            },
            None => return false,
        },
        None => {
            let (host, port) = host_port.split_once(':').unwrap_or((host_port, ""));
            (consists_of(host, b"") && is_utf8_when_decoded(host), port)
        }
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    consists_of(user, b":") && host && digits
}

/// What stands in brackets: an address of version 6, with `%25zone` (RFC 6874), or a later one.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && !address.contains('%')
                && consists_of(address, b":")
        });
    }
    match text.split_once("%25") {
        Some((address, zone)) => {
            is_ipv6(address)
                && !address.contains('%')
                && !zone.is_empty()
                && !zone.bytes().any(|b| b"!$&'()*+,;=".contains(&b))
                && consists_of(zone, b"")
                && is_utf8_when_decoded(zone)
        }
        None => !text.contains('%') && is_ipv6(text),
    }
}

/// Unreserved characters, percent-encoded ones, sub-delimiters, and `more`.
fn consists_of(text: &str, more: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
        let fits = match byte {
            b'%' => hex(bytes.next()) && hex(bytes.next()),
            other => {
                other.is_ascii_alphanumeric()
                    || b"-._~!$&'()*+,;=".contains(&other)
                    || more.contains(&other)
            }
        };
        if !fits {
            return false;
        }
    }
    true
}

/// For a text whose percent-encoding is right.
fn is_utf8_when_decoded(text: &str) -> bool {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or(0);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let value = digit(bytes.next()) * 16 + digit(bytes.next());
                u8::try_from(value).unwrap_or_default()
            }
            other => other,
        });
    }
    std::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for text in [
            "https://example.com",
            "https://u:p@example.com:8443/a/b;c?d=e&f#g",
            "mailto:a@b.c",
            "urn:isbn:1",
            "http://[::1]:80/",
            "http://[fe80::1%25eth0]/",
            "http://[v1.a:b]/",
            "file:///etc/x",
            "a:",
            "http://a:65536/",
            "http://ex%C3%A4mple.com",
        ] {
            assert!(is_uri(text) && is_uri_ref(text), "{text}");
        }
        for text in [
            "",
            "example.com",
            "1a://b",
            "http://a b",
            "http://a/%zz",
            "http://[::1",
            "http://[1.2.3.4]/",
            "http://a:port/",
            "http://ä.com",
            "http://a/#b#c",
            "http://%ff.com",
            "http://[fe80::1%eth0]/",
        ] {
            assert!(!is_uri(text), "{text}");
        }
        for text in ["", "/a/b", "a/b:c", "?q", "#f", "//host/path", "../x"] {
            assert!(is_uri_ref(text) && !is_uri(text), "{text}");
        }
        assert!(!is_uri_ref("1a:b") && !is_uri_ref("a b"));
    }
}
