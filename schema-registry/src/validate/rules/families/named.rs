//! Rules that name a format: `email`, `uuid`, `well_known_regex` and the like.

use super::{
    super::{addresses, formats, rule::Test, uri},
    Read, set,
};
use prost_reflect::{DynamicMessage, Value};

pub(super) fn header(value: &Value, options: &DynamicMessage) -> Option<Read> {
    let strict = set(options, "strict").and_then(|strict| strict.as_bool()).unwrap_or(true);
    let (name, expected, is): (_, _, fn(&str) -> bool) = match (value.as_enum_number()?, strict) {
        (1, true) => ("header_name", "the name of an HTTP header", formats::is_header_name),
        (1, false) => ("header_name", "the name of an HTTP header", formats::is_loose_header_name),
        (2, true) => ("header_value", "the value of an HTTP header", formats::is_header_value),
        (2, false) => {
            ("header_value", "the value of an HTTP header", formats::is_loose_header_value)
        }
        _ => return None,
    };
    Some((format!("well_known_regex.{name}"), expected.to_owned(), Test::Format(is)))
}

pub(super) fn format_of(name: &str) -> (&'static str, &'static str, Test) {
    let (name, expected, is): (_, _, fn(&str) -> bool) = match name {
        "email" => ("email", "a mail address", formats::is_email),
        "hostname" => ("hostname", "a host name", addresses::is_hostname),
        "ip" => ("ip", "an IP address", addresses::is_ip),
        "ipv4" => ("ipv4", "an IPv4 address", addresses::is_ipv4),
        "ipv6" => ("ipv6", "an IPv6 address", addresses::is_ipv6),
        "uri" => ("uri", "a URI", uri::is_uri),
        "uri_ref" => ("uri_ref", "a URI or a relative reference", uri::is_uri_ref),
        "address" => ("address", "a host name or an IP address", addresses::is_address),
        "uuid" => ("uuid", "a UUID", formats::is_uuid),
        "tuuid" => ("tuuid", "a UUID without hyphens", formats::is_trimmed_uuid),
        "ulid" => ("ulid", "a ULID", formats::is_ulid),
        "ip_with_prefixlen" => {
            ("ip_with_prefixlen", "an IP address and a length", addresses::is_ip_with_prefixlen)
        }
        "ipv4_with_prefixlen" => (
            "ipv4_with_prefixlen",
            "an IPv4 address and a length",
            addresses::is_ipv4_with_prefixlen,
        ),
        "ipv6_with_prefixlen" => (
            "ipv6_with_prefixlen",
            "an IPv6 address and a length",
            addresses::is_ipv6_with_prefixlen,
        ),
        "ip_prefix" => ("ip_prefix", "an IP network", addresses::is_ip_prefix),
        "ipv4_prefix" => ("ipv4_prefix", "an IPv4 network", addresses::is_ipv4_prefix),
        "ipv6_prefix" => ("ipv6_prefix", "an IPv6 network", addresses::is_ipv6_prefix),
        "host_and_port" => ("host_and_port", "a host and a port", addresses::is_host_and_port),
        "protobuf_fqn" => ("protobuf_fqn", "a full name of protobuf", formats::is_protobuf_name),
        "protobuf_dot_fqn" => (
            "protobuf_dot_fqn",
            "a full name of protobuf after a dot",
            formats::is_dotted_protobuf_name,
        ),
        // Lengths and the like were read before.
        _ => ("", "", |_| true),
    };
    (name, expected, Test::Format(is))
}

pub(super) fn length_of(name: &str) -> (&'static str, &'static str, Test) {
    let (name, expected, lengths): (_, _, &[usize]) = match name {
        "ip" => ("ip", "the 4 or 16 bytes of an IP address", &[4, 16]),
        "ipv4" => ("ipv4", "the 4 bytes of an IPv4 address", &[4]),
        "ipv6" => ("ipv6", "the 16 bytes of an IPv6 address", &[16]),
        "uuid" => ("uuid", "the 16 bytes of a UUID", &[16]),
        _ => ("", "", &[]),
    };
    (name, expected, Test::LengthOneOf(lengths))
}
