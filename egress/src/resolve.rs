//! Names to addresses, with a time limit and without blocking a thread.

use crate::Settings;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Answers that are kept, as long as their time to live says.
const CACHE_ENTRIES: u64 = 8 * 1024;
/// Longest that a name is taken for unknown after it was not found.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);

/// Resolves names through the hosts file and the name servers.
pub(crate) struct Names {
    resolver: TokioResolver,
    limit: Duration,
}

impl Names {
    /// Asks the name servers of `settings`, else those of the system.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let (servers, mut options) = match settings.nameservers.as_slice() {
            [] => hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "no name servers: names other than localhost fail");
                (ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default())
            }),
            some => {
                let servers = some.iter().copied().map(name_server).collect();
                (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
            }
        };
        // Two tries fit into the limit, so that one lost packet is not a failure.
        options.timeout = settings.dns_timeout.mul_f64(0.45);
        options.attempts = 1;
        options.cache_size = CACHE_ENTRIES;
        options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(servers, provider).with_options(options);
        let resolver = resolver.build().map_err(|error| error.to_string())?;
        Ok(Self { resolver, limit: settings.dns_timeout })
    }

    /// All addresses of `host`, or a sentence.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        // RFC 6761, section 6.3: these names mean loopback and are never asked for.
        let bare = host.trim_end_matches('.');
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        match tokio::time::timeout(self.limit, self.resolver.lookup_ip(host)).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {:?}", self.limit)),
        }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}
