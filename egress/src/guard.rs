//! The address guard: which addresses may be dialled (against server-side request forgery).

use ipnet::IpNet;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It lies in a special range, which is named.
    Special(&'static str),
    /// Plain `http` to the public internet.
    PlainHttp,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Special(range) => write!(f, "it is {range}"),
            Self::PlainHttp => f.write_str("plain http goes only to allowed networks, use https"),
        }
    }
}

/// Decides over addresses, not names: it is asked after every resolution.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

impl Guard {
    /// A guard that lets everything in `allowed` pass.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// The address to dial (an IPv4 address in IPv6 clothes is undressed first), or why not.
    /// `plain` says that the connection is not encrypted.
    pub fn check(&self, address: IpAddr, plain: bool) -> Result<IpAddr, Refusal> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return Ok(address);
        }
        let special = match address {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        match special {
            Some(range) => Err(Refusal::Special(range)),
            None if plain => Err(Refusal::PlainHttp),
            None => Ok(address),
        }
    }
}

/// IPv4 ranges that are not the public internet: first address, prefix length, what it is. From
/// the IANA IPv4 Special-Purpose Address Registry, and the one metadata address outside of it.
const SPECIAL_V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "a metadata address"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 52, 193, 0], 24, "a multicast relay"),
    ([192, 88, 99, 0], 24, "a 6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

/// The same for IPv6: first two or four groups, prefix length, what it is. Everything outside of
/// 2000::/3 is refused anyway; those ranges are listed for the sake of their names.
const SPECIAL_V6: [([u16; 8], u32, &str); 18] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discarded"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "a segment routing id"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let inside = |first: &[u8; 4], length: u32| {
        (bits ^ u32::from_be_bytes(*first)).leading_zeros() >= length
    };
    SPECIAL_V4.iter().find(|(first, length, _)| inside(first, *length)).map(|(_, _, name)| *name)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let inside = |first: &[u16; 8], length: u32| {
        let [a, b, c, d, e, f, g, h] = *first;
        (bits ^ Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits()).leading_zeros() >= length
    };
    let named = SPECIAL_V6.iter().find(|(first, length, _)| inside(first, *length));
    let global_unicast = bits >> 125 == 0b001;
    named.map(|(_, _, name)| *name).or((!global_unicast).then_some("not global unicast"))
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
