//! Where a request comes from: its connection, or what a proxy that is trusted says of it.

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// The address of who calls; None: the connection has none.
///
/// Each proxy adds, at the end of `X-Forwarded-For`, the address that it was called from. So the
/// list is read from its end, and the first address that is no trusted proxy's is the caller's:
/// what stands before it, the caller may have made up.
pub(crate) fn address(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    let is_trusted = |address: IpAddr| {
        let address = address.to_canonical();
        trusted.iter().any(|network| network.contains(&address))
    };
    let mut address = peer.ip();
    let lists = headers.get_all("x-forwarded-for").iter().rev();
    let said = lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(','));
    for said in said {
        if !is_trusted(address) {
            break;
        }
        // What is no address is not believed, and nothing before it.
        let Ok(before) = said.trim().parse() else { break };
        address = before;
    }
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(peer: &str, forwarded: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        address(&extensions, &headers, &trusted).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(called("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(called("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(called("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(called("10.0.0.1", &["1.2.3.4, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(called("10.0.0.1", &["1.2.3.4", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(called("10.0.0.1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(called("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address(&Extensions::new(), &HeaderMap::new(), &[]), None);
    }
}
