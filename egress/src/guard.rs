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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::{Host, Url};

    fn address_in(url: &str) -> IpAddr {
        match Url::parse(url).unwrap().host().unwrap() {
            Host::Ipv4(v4) => v4.into(),
            Host::Ipv6(v6) => v6.into(),
            Host::Domain(name) => panic!("{name} is a name"),
        }
    }

    fn refusal(host: &str) -> Option<Refusal> {
        let guard = Guard::new(Vec::new());
        guard.check(address_in(&format!("https://{host}/hook")), false).err()
    }

    #[test]
    fn every_special_range_is_refused_at_both_ends() {
        #[rustfmt::skip]
        let hosts = [
            "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0",
            "100.127.255.255", "100.100.100.200", "127.0.0.0", "127.0.0.1", "127.255.255.255",
            "168.63.129.16", "169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
            "172.16.0.0", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.0.255",
            "192.0.2.0", "192.0.2.255", "192.52.193.1", "192.88.99.1", "192.168.0.0",
            "192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255",
            "203.0.113.0", "203.0.113.255", "224.0.0.0", "239.255.255.255", "240.0.0.0",
            "255.255.255.255",
            "[::]", "[::1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::10.0.0.1]",
            "[64:ff9b::8.8.8.8]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]", "[2001:0:ffff::1]",
            "[2001:2::1]", "[2001:10::1]", "[2001:20::1]", "[2001:1ff:ffff::1]", "[2001:db8::1]",
            "[2001:db8:ffff::1]", "[2002:7f00:1::]", "[2002:ffff::1]", "[3fff::1]",
            "[3fff:fff::1]", "[5f00::1]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]",
            "[fdff::1]", "[fe80::1]", "[febf::1]", "[fec0::1]", "[feff::1]", "[ff02::1]",
            "[ffff::1]", "[1::1]", "[4000::1]", "[e000::1]",
        ];
        for host in hosts {
            assert!(matches!(refusal(host), Some(Refusal::Special(_))), "{host} passed");
        }
    }

    #[test]
    fn other_spellings_of_private_addresses_are_refused() {
        #[rustfmt::skip]
        let hosts = [
            "2130706433", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "0177.0x0.0.01", "127.1",
            "127.0.1", "017700000001", "0", "0x0", "127.0.0.1.", "3232235777", "0xC0A80101",
            "0300.0250.1.1", "192.168.257", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
            "%31%32%37.0.0.1", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1",
            "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[::ffff:10.0.0.1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::FFFF:192.168.1.1]",
        ];
        for host in hosts {
            assert!(matches!(refusal(host), Some(Refusal::Special(_))), "{host} passed");
        }
    }

    #[test]
    fn the_neighbours_of_special_ranges_pass() {
        #[rustfmt::skip]
        let hosts = [
            "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
            "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255",
            "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0",
            "192.0.3.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
            "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
            "8.8.8.8", "[2001:200::1]", "[2001:db7::1]", "[2001:db9::1]", "[2003::1]",
            "[2606:4700::1111]", "[3ffe:ffff::1]", "[3fff:1000::1]", "[::ffff:8.8.8.8]",
        ];
        for host in hosts {
            assert_eq!(refusal(host), None, "{host} refused");
        }
    }

    #[test]
    fn allowed_networks_pass_in_every_spelling_and_without_encryption() {
        let allowed = ["127.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let guard = Guard::new(allowed.to_vec());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        for url in ["http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://0x7f.1/"] {
            assert_eq!(guard.check(address_in(url), true), Ok(loopback));
        }
        assert!(guard.check(address_in("http://[fd00::1]/"), true).is_ok());
        assert!(guard.check(address_in("http://[::1]/"), true).is_err());
        assert!(guard.check(address_in("http://10.0.0.1/"), true).is_err());
    }

    #[test]
    fn plain_http_stays_in_allowed_networks() {
        let guard = Guard::new(Vec::new());
        let public = address_in("http://8.8.8.8/");
        assert_eq!(guard.check(public, true), Err(Refusal::PlainHttp));
        assert_eq!(guard.check(public, false), Ok(public));
    }

    proptest! {
        #[test]
        fn an_ipv4_address_is_judged_alike_in_both_families(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let guard = Guard::new(Vec::new());
            prop_assert_eq!(
                guard.check(v4.into(), false),
                guard.check(v4.to_ipv6_mapped().into(), false)
            );
        }

        #[test]
        fn nothing_outside_of_global_unicast_passes(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            let passes = Guard::new(Vec::new()).check(v6.into(), false).is_ok();
            prop_assert!(!passes || bits >> 125 == 1 || v6.to_ipv4_mapped().is_some());
        }
    }
}
