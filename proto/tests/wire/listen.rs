//! Real listeners on loopback, on ports of the system's choice.

use crate::fake::Fake;
use contract::{
    authenticate::Keys,
    backoff::Span,
    master_api::Configuration,
    testing::{ManualClock, SeededRandom},
};
use proto::{
    client::{Bearer, Peers, RemoteMasterApi},
    config::{ClientConfig, PublicConfig},
    server::{self, PublicPorts},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{Channel, Server, server::TcpIncoming},
};

/// No test waits longer for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Listener {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub done: JoinHandle<()>,
}

impl Listener {
    pub fn peers(&self) -> Peers {
        peers(&[self.address], ClientConfig::default())
    }

    pub async fn master_api(&self) -> RemoteMasterApi {
        let stop = self.stop.child_token();
        RemoteMasterApi::connect(self.peers(), PATIENCE, stop).await.unwrap()
    }
}

pub fn peers(addresses: &[SocketAddr], config: ClientConfig) -> Peers {
    let addresses: Vec<_> = addresses.iter().map(|address| format!("http://{address}")).collect();
    Peers::new(&addresses, None, config).unwrap()
}

pub fn with_deadline(millis: u64) -> ClientConfig {
    ClientConfig { deadline: Span(Duration::from_millis(millis)), ..ClientConfig::default() }
}

pub async fn listen(routes: Routes) -> Listener {
    let stop = CancellationToken::new();
    listen_at("127.0.0.1:0".parse().unwrap(), routes, stop).await
}

pub async fn listen_at(address: SocketAddr, routes: Routes, stop: CancellationToken) -> Listener {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stopped = stop.clone().cancelled_owned();
    let serving = Server::builder().add_routes(routes);
    let serving = serving.serve_with_incoming_shutdown(incoming, stopped);
    let done = tokio::spawn(async { serving.await.unwrap() });
    Listener { address, stop, done }
}

pub async fn master_api(fake: &Arc<Fake>) -> Listener {
    let stop = CancellationToken::new();
    let routes = server::master_api_routes(fake.clone(), stop.clone());
    listen_at("127.0.0.1:0".parse().unwrap(), routes, stop).await
}

/// The public port over `fake`.
pub async fn public(fake: &Arc<Fake>) -> Listener {
    let ports = PublicPorts {
        broker: fake.clone(),
        registry: fake.clone(),
        master_api: fake.clone(),
        receivers: None,
        who: Arc::new(Keys::new(fake.rules(), ManualClock::new(crate::samples::NOW))),
        clock: ManualClock::new(crate::samples::NOW),
        random: SeededRandom::new(1),
        stop: CancellationToken::new(),
    };
    let (routes, _health) = server::public_routes(ports, PublicConfig::default()).await.unwrap();
    listen(routes).await
}

/// A channel that says the token of the key of this name.
pub fn keyed(listener: &Listener, key: &str) -> InterceptedService<Channel, Bearer> {
    let bearer = Bearer::new(&crate::samples::token(key)).unwrap();
    InterceptedService::new(listener.peers().channel(), bearer)
}
