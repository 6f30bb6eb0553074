//! Text forms of hosts and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// RFC 1034 as browsers and mail servers read it: labels of letters, digits and inner hyphens, the
/// last one not a number; one dot may end it.
pub(super) fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let digits = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(is_label)
        && !text.rsplit('.').next().is_none_or(digits)
}

/// One label of a host name.
pub(super) fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// An address of either version; version 6 with an optional zone.
pub(super) fn is_ip(text: &str) -> bool {
    is_ipv4(text) || is_ipv6(text)
}

/// Four decimal numbers.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

/// RFC 4291, and `%zone` (RFC 4007).
pub(super) fn is_ipv6(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

/// A host name or an address.
pub(super) fn is_address(text: &str) -> bool {
    is_hostname(text) || is_ip(text)
}

/// An address and the length of its network, as in `10.1.2.3/8`.
pub(super) fn is_ip_with_prefixlen(text: &str) -> bool {
    network(text).is_some()
}

pub(super) fn is_ipv4_with_prefixlen(text: &str) -> bool {
    matches!(network(text), Some((IpAddr::V4(_), _)))
}

pub(super) fn is_ipv6_with_prefixlen(text: &str) -> bool {
    matches!(network(text), Some((IpAddr::V6(_), _)))
}

/// A network: nothing is set beyond the length, as in `10.0.0.0/8`.
pub(super) fn is_ip_prefix(text: &str) -> bool {
    network(text).is_some_and(|(address, length)| is_network(address, length))
}

pub(super) fn is_ipv4_prefix(text: &str) -> bool {
    is_ipv4_with_prefixlen(text) && is_ip_prefix(text)
}

pub(super) fn is_ipv6_prefix(text: &str) -> bool {
    is_ipv6_with_prefixlen(text) && is_ip_prefix(text)
}

/// `host:port`, where the host may be an address of version 6 in brackets.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let host_port = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").map(|(host, port)| (is_ipv6(host), port)),
        None => {
            text.rsplit_once(':').map(|(host, port)| (is_hostname(host) || is_ipv4(host), port))
        }
    };
    host_port.is_some_and(|(host, port)| host && is_port(port))
}

/// The same, where the port may be missing.
pub(super) fn is_host_with_optional_port(text: &str) -> bool {
    let bare = match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => is_ipv6(inside),
        None => is_hostname(text) || is_ipv4(text),
    };
    bare || is_host_and_port(text)
}

fn is_port(text: &str) -> bool {
    is_plain_number(text) && text.parse::<u16>().is_ok()
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address = address.parse::<IpAddr>().ok()?;
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse().ok().filter(|_| is_plain_number(length))?;
    (length <= length_max).then_some((address, length))
}

fn is_network(address: IpAddr, length: u32) -> bool {
    let host_bits_clear = |bits: u128, width: u32| length >= width || bits << length == 0;
    match address {
        IpAddr::V4(address) => length >= 32 || address.to_bits() << length == 0,
        IpAddr::V6(address) => host_bits_clear(address.to_bits(), 128),
    }
}

/// Digits without a sign or a leading zero.
fn is_plain_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn table(is: fn(&str) -> bool, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(is(text), "{text}");
        }
        for text in no {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn hosts() {
        let long = format!("{}.com", "a".repeat(63));
        let too_long = format!("{}.com", "a".repeat(64));
        table(
            is_hostname,
            &["example.com", "a", "a-b.c1", "example.com.", "1.2.3.4a", &long],
            &["", ".", "-a.b", "a-.b", "a..b", "1.2.3.4", "a_b", "exämple.com", &too_long],
        );
        table(
            is_host_and_port,
            &["a:1", "example.com:65535", "127.0.0.1:80", "[::1]:0"],
            &["a", "a:", "a:65536", "a:01", "::1:80", "[::1]", "[a]:1", ":80"],
        );
    }

    #[test]
    fn addresses() {
        table(is_ipv4, &["0.0.0.0", "255.1.2.3"], &["1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4 "]);
        table(
            is_ipv6,
            &["::", "::1", "fe80::1%eth0", "2001:db8::8:800:200c:417a", "::ffff:1.2.3.4"],
            &["1.2.3.4", ":::", "fe80::1%", "12345::", "1:2:3:4:5:6:7:8:9"],
        );
        table(
            is_ip_prefix,
            &["10.0.0.0/8", "::/0", "1.2.3.4/32", "2001:db8::/32"],
            &["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0", "::1/64"],
        );
        table(is_ip_with_prefixlen, &["10.0.0.1/8", "::1/64"], &["10.0.0.1", "::1/129", "/8"]);
    }
}
