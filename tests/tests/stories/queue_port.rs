//! The queue over the wire does what it does in one process.

use contract::{
    backoff::Span,
    clock::Timestamp,
    queue::MessageQueue,
    rules::Rules,
    testing::{
        ManualClock,
        queue_conformance::{Harness, SETTINGS},
    },
};
use prometheus_client::registry::Registry;
use proto::{
    client::{Peers, RemoteQueue},
    config::ClientConfig,
    server,
};
use queue::{Config, MemoryQueue, Metrics};
use std::sync::Arc;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Server, server::TcpIncoming};

const NOON: Timestamp = Timestamp(1_795_262_400_000_000);

struct OverTheWire {
    clock: Arc<ManualClock>,
    rules: watch::Sender<Arc<Rules>>,
    remote: Arc<dyn MessageQueue>,
    _stop: DropGuard,
}

#[async_trait::async_trait]
impl Harness for OverTheWire {
    fn queue(&self) -> Arc<dyn MessageQueue> {
        self.remote.clone()
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }

    async fn set_rules(&self, rules: Rules) {
        self.rules.send_replace(Arc::new(rules));
    }
}

async fn over_the_wire() -> OverTheWire {
    let clock = ManualClock::new(NOON);
    let (rules, receiver) = watch::channel(Arc::default());
    let config = Config {
        max_in_flight: SETTINGS.max_in_flight,
        minimum_share: SETTINGS.minimum_share,
        window: SETTINGS.window,
        lease: Span(SETTINGS.lease),
        hold_delayed: Span(SETTINGS.hold_delayed),
        ..Config::default()
    };
    let metrics = Metrics::new(&mut Registry::default());
    let queue = MemoryQueue::new(config, receiver, clock.clone(), metrics).unwrap();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving =
        Server::builder().add_routes(server::queue_routes(queue)).serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        );
    tokio::spawn(async { serving.await.unwrap() });
    let peers = Peers::new(&[address], None, ClientConfig::default()).unwrap();
    let remote: Arc<dyn MessageQueue> = Arc::new(RemoteQueue::new(peers));
    OverTheWire { clock, rules, remote, _stop: stop.drop_guard() }
}

contract::queue_conformance!(over_the_wire().await);
