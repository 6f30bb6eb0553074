//! The table: every range and every spelling that somebody may try.

use super::*;
use proptest::prelude::*;
use url::{Host, Url};

/// What the URL of a subscription comes to: nothing at all, or an address and what the guard says.
/// None: the host is a name, which is resolved first.
fn judged(url: &str) -> Option<Result<IpAddr, String>> {
    let address = match Url::parse(url) {
        Err(error) => return Some(Err(format!("no URL: {error}"))),
        Ok(url) => match url.host() {
            None => return Some(Err("no host".to_owned())),
            Some(Host::Ipv4(v4)) => v4.into(),
            Some(Host::Ipv6(v6)) => v6.into(),
            Some(Host::Domain(_)) => return None,
        },
    };
    Some(Guard::new(Vec::new()).check(address, false).map_err(|refusal| refusal.to_string()))
}

fn address_in(url: &str) -> IpAddr {
    match Url::parse(url).unwrap().host().unwrap() {
        Host::Ipv4(v4) => v4.into(),
        Host::Ipv6(v6) => v6.into(),
        Host::Domain(name) => panic!("{name} is a name"),
    }
}

/// Each special range: its first and last address, and what a refusal calls it.
#[rustfmt::skip]
const RANGES: [(&str, &str, &str); 43] = [
    ("0.0.0.0",          "0.255.255.255",    "this network"),
    ("10.0.0.0",         "10.255.255.255",   "private"),
    ("100.64.0.0",       "100.127.255.255",  "carrier-grade NAT"),
    ("100.100.100.200",  "100.100.100.200",  "carrier-grade NAT"),
    ("127.0.0.0",        "127.255.255.255",  "loopback"),
    ("168.63.129.16",    "168.63.129.16",    "a metadata address"),
    ("169.254.0.0",      "169.254.255.255",  "link-local"),
    ("169.254.169.254",  "169.254.170.2",    "link-local"),
    ("172.16.0.0",       "172.31.255.255",   "private"),
    ("192.0.0.0",        "192.0.0.255",      "reserved for protocols"),
    ("192.0.0.192",      "192.0.0.192",      "reserved for protocols"),
    ("192.0.2.0",        "192.0.2.255",      "for documentation"),
    ("192.52.193.0",     "192.52.193.255",   "a multicast relay"),
    ("192.88.99.0",      "192.88.99.255",    "a 6to4 relay"),
    ("192.168.0.0",      "192.168.255.255",  "private"),
    ("198.18.0.0",       "198.19.255.255",   "for benchmarks"),
    ("198.51.100.0",     "198.51.100.255",   "for documentation"),
    ("203.0.113.0",      "203.0.113.255",    "for documentation"),
    ("224.0.0.0",        "239.255.255.255",  "multicast"),
    ("240.0.0.0",        "255.255.255.254",  "reserved"),
    ("255.255.255.255",  "255.255.255.255",  "reserved"),
    ("[::]",             "[::]",             "unspecified"),
    ("[::1]",            "[::1]",            "loopback"),
    ("[::2]",            "[::ffff:ffff]",    "IPv4-compatible"),
    ("[::ffff:0:0:0]",   "[::ffff:0:ffff:ffff]", "IPv4-translated"),
    ("[64:ff9b::]",      "[64:ff9b::ffff:ffff]", "NAT64"),
    ("[64:ff9b:1::]",    "[64:ff9b:1:ffff:ffff:ffff:ffff:ffff]", "local NAT64"),
    ("[100::]",          "[100::ffff:ffff:ffff:ffff]", "discarded"),
    ("[2001::]",         "[2001:0:ffff:ffff:ffff:ffff:ffff:ffff]", "Teredo"),
    ("[2001:2::]",       "[2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff]", "reserved for protocols"),
    ("[2001:10::]",      "[2001:2f:ffff:ffff:ffff:ffff:ffff:ffff]", "reserved for protocols"),
    ("[2001:db8::]",     "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]", "for documentation"),
    ("[2002::]",         "[2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "6to4"),
    ("[3fff::]",         "[3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff]", "for documentation"),
    ("[5f00::]",         "[5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "a segment routing id"),
    ("[fc00::]",         "[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "unique local"),
    ("[fd00:ec2::254]",  "[fd20:ce::254]",   "unique local"),
    ("[fe80::]",         "[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "link-local"),
    ("[fec0::]",         "[feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "site-local"),
    ("[ff00::]",         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "multicast"),
    ("[1::]",            "[1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "not global unicast"),
    ("[4000::]",         "[5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "not global unicast"),
    ("[6000::]",         "[fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", "not global unicast"),
];

#[test]
fn every_special_range_is_refused_at_both_ends_and_named() {
    for (first, last, name) in RANGES {
        for host in [first, last] {
            let refusal = judged(&format!("https://{host}/hook")).unwrap().unwrap_err();
            assert_eq!(refusal, format!("it is {name}"), "{host}");
        }
    }
}

/// Spellings of addresses that are not the public internet, and the address that each means.
#[rustfmt::skip]
const SPELLINGS: [(&str, &str); 62] = [
    // As one number, in three bases.
    ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("0X7F000001", "127.0.0.1"),
    ("017700000001", "127.0.0.1"), ("0000017700000001", "127.0.0.1"), ("0", "0.0.0.0"),
    ("0x0", "0.0.0.0"), ("0x", "0.0.0.0"), ("00", "0.0.0.0"), ("4294967295", "255.255.255.255"),
    ("3232235777", "192.168.1.1"), ("0xC0A80101", "192.168.1.1"), ("167772161", "10.0.0.1"),
    ("2852039166", "169.254.169.254"), ("0xa9fea9fe", "169.254.169.254"),
    ("025177524776", "169.254.169.254"),
    // In two and three parts.
    ("127.1", "127.0.0.1"), ("127.0.1", "127.0.0.1"), ("0x7f.1", "127.0.0.1"),
    ("0177.1", "127.0.0.1"), ("192.168.257", "192.168.1.1"), ("169.16689662", "169.254.169.254"),
    ("10.1", "10.0.0.1"), ("172.1048577", "172.16.0.1"),
    // Parts in other bases, and mixed.
    ("0177.0.0.1", "127.0.0.1"), ("0x7F.0.0.1", "127.0.0.1"), ("0177.0x0.0.01", "127.0.0.1"),
    ("0300.0250.1.1", "192.168.1.1"), ("0251.0376.0251.0376", "169.254.169.254"),
    ("0xa9.254.0251.0xfe", "169.254.169.254"), ("0x0a.0.0.1", "10.0.0.1"), ("012.0.0.1", "10.0.0.1"),
    // With a dot behind it.
    ("127.0.0.1.", "127.0.0.1"), ("2130706433.", "127.0.0.1"), ("0x7f.1.", "127.0.0.1"),
    // Escaped, full-width, circled, with the dots of other scripts.
    ("%31%32%37.0.0.1", "127.0.0.1"), ("127%2e0%2e0%2e1", "127.0.0.1"),
    ("１２７.0.0.1", "127.0.0.1"), ("①②⑦.0.0.1", "127.0.0.1"), ("127。0。0。1", "127.0.0.1"),
    ("127．0．0．1", "127.0.0.1"), ("𝟙𝟚𝟟.0.0.1", "127.0.0.1"), ("127.0.0.1\u{ad}", "127.0.0.1"),
    ("1\t27.0.0.1", "127.0.0.1"), ("127.0.\n0.1", "127.0.0.1"),
    // IPv4 in IPv6 clothes.
    ("[::ffff:127.0.0.1]", "127.0.0.1"), ("[::ffff:7f00:1]", "127.0.0.1"),
    ("[::FFFF:192.168.1.1]", "192.168.1.1"), ("[::ffff:10.0.0.1]", "10.0.0.1"),
    ("[0:0:0:0:0:ffff:a9fe:a9fe]", "169.254.169.254"),
    ("[0000:0000:0000:0000:0000:ffff:7f00:0001]", "127.0.0.1"),
    ("[::127.0.0.1]", "::7f00:1"), ("[::ffff:0:127.0.0.1]", "::ffff:0:7f00:1"),
    ("[64:ff9b::127.0.0.1]", "64:ff9b::7f00:1"), ("[64:ff9b::a9fe:a9fe]", "64:ff9b::a9fe:a9fe"),
    ("[64:ff9b:1::10.0.0.1]", "64:ff9b:1::a00:1"),
    ("[2002:7f00:1::]", "2002:7f00:1::"), ("[2002:a9fe:a9fe::1]", "2002:a9fe:a9fe::1"),
    ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    // Other spellings of one IPv6 address.
    ("[0:0:0:0:0:0:0:1]", "::1"), ("[0000::0001]", "::1"), ("[FE80::1]", "fe80::1"),
];

#[test]
fn every_spelling_means_its_address_and_is_refused() {
    let guard = Guard::new(Vec::new());
    for (host, meant) in SPELLINGS {
        let address = address_in(&format!("https://{host}/hook"));
        assert_eq!(address.to_canonical(), meant.parse::<IpAddr>().unwrap(), "{host}");
        assert!(matches!(guard.check(address, false), Err(Refusal::Special(_))), "{host} passed");
    }
}

/// URLs that look like one host and mean another: only the one that is meant counts.
#[rustfmt::skip]
const TRICKS: [(&str, &str); 14] = [
    ("https://8.8.8.8@127.0.0.1/", "127.0.0.1"),
    ("https://8.8.8.8:443@127.0.0.1/", "127.0.0.1"),
    ("https://public.example@10.0.0.1/", "10.0.0.1"),
    ("https://user:pass@[::1]:8443/", "::1"),
    ("https://a@b@127.0.0.1/", "127.0.0.1"),
    ("https://127.0.0.1#@8.8.8.8/", "127.0.0.1"),
    ("https://127.0.0.1?@8.8.8.8/", "127.0.0.1"),
    ("https://127.0.0.1/@8.8.8.8/", "127.0.0.1"),
    ("https://127.0.0.1\\@8.8.8.8/", "127.0.0.1"),
    ("https://8.8.8.8%40@127.0.0.1/", "127.0.0.1"),
    ("https:\\\\127.0.0.1/", "127.0.0.1"),
    ("https:127.0.0.1/", "127.0.0.1"),
    ("  https://127.0.0.1/  ", "127.0.0.1"),
    ("https:////127.0.0.1/", "127.0.0.1"),
];

#[test]
fn no_trick_hides_the_host() {
    for (url, meant) in TRICKS {
        assert_eq!(address_in(url), meant.parse::<IpAddr>().unwrap(), "{url}");
        assert!(judged(url).unwrap().is_err(), "{url} passed");
    }
}

/// What is no host at all is not dialled; what is a name is resolved, and its addresses judged.
#[test]
fn what_is_no_host_is_refused_and_names_are_resolved_first() {
    let nothing = [
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1%251]/",
        "https://[::1/",
        "https://::1/",
        "https://[127.0.0.1]/",
        "https://256.0.0.1/",
        "https://127.0.0.1.1/",
        "https://4294967296/",
        "https://0x100000000/",
        "https://127.0.0.08/",
        "https://[::ffff:127.0.0.256]/",
        "https://[1:2:3]/",
        "https:///",
        "https://",
        "https://a b/",
        "https://a%00b/",
        "https://xn--/",
        "https://127.0.0.1:99999/",
        "https://%/",
    ];
    for url in nothing {
        assert!(matches!(judged(url), Some(Err(_))), "{url}: {:?}", judged(url));
    }
    let names = [
        "https://localhost/",
        "https://localhost./",
        "https://127.0.0.1.example/",
        "https://127.0.0.0x1g/",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/",
        "https://0x7f.1.example/",
        "https://ⅼocalhost/",
        "https://ｌｏｃａｌｈｏｓｔ/",
        "https://metadata.google.internal/",
    ];
    for url in names {
        assert_eq!(judged(url), None, "{url}");
    }
    // Punycode and letters that look alike come to the same name before it is resolved.
    let host = |url: &str| Url::parse(url).unwrap().host_str().unwrap().to_owned();
    assert_eq!(host("https://bücher.example/"), "xn--bcher-kva.example");
    assert_eq!(host("https://ｌｏｃａｌｈｏｓｔ/"), "localhost");
    assert_eq!(host("https://ⅼocalhost/"), "localhost");
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
        "8.8.8.8", "134744072", "[2001:200::1]", "[2001:db7::1]", "[2001:db9::1]", "[2003::1]",
        "[2606:4700::1111]", "[3ffe:ffff::1]", "[3fff:1000::1]", "[::ffff:8.8.8.8]",
    ];
    for host in hosts {
        let judged = judged(&format!("https://{host}/hook")).unwrap();
        assert!(judged.is_ok(), "{host} refused: {judged:?}");
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
    // What only holds an allowed address is another one.
    for url in ["http://[64:ff9b::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[::127.0.0.1]/"]
    {
        assert!(guard.check(address_in(url), true).is_err(), "{url}");
    }
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
