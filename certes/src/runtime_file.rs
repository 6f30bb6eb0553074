//! `server.json` in the data directory: how the command line finds the server that runs there.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

const NAME: &str = "server.json";

/// Where a running server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFile {
    /// Its process.
    pub pid: u32,
    /// Public HTTP; gRPC answers there, too.
    pub http: Option<SocketAddr>,
    /// Public gRPC.
    pub grpc: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
}

impl RuntimeFile {
    /// Writes it for as long as the guard lives.
    pub fn write(&self, data_dir: &Path) -> Result<Guard> {
        let path = data_dir.join(NAME);
        std::fs::create_dir_all(data_dir)
            .and_then(|()| std::fs::write(&path, serde_json::to_vec_pretty(self)?))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Guard(path))
    }

    /// Reads that of a data directory; None if no server runs there.
    pub fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(NAME)).ok()?).ok()
    }

    /// URL of the public HTTP listener, as a client on this machine reaches it.
    pub fn http_url(&self) -> Option<String> {
        self.http.map(|address| format!("http://{}", reachable(address)))
    }
}

/// Removes the file when the server stops.
#[derive(Debug)]
pub struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "runtime file was not removed");
        }
    }
}

/// An unspecified address is reached through loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
