//! The log over the wire does what it does in one process.

use contract::{
    clock::Timestamp,
    log::{LogFilter, LogQuery},
    master_api::{Log, MasterApi},
    testing::{ManualClock, SeededRandom, log_conformance::Harness, seeded_ids},
};
use master_api::{Config, FileSystem, MasterApi as Store, Metrics, Surroundings, store::Memory};
use prometheus_client::registry::Registry;
use proto::{
    client::{Peers, RemoteMasterApi},
    config::ClientConfig,
    server,
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

const NOON: Timestamp = Timestamp(1_795_262_400_000_000);
/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

struct OverTheWire {
    clock: Arc<ManualClock>,
    remote: Arc<RemoteMasterApi>,
    stop: CancellationToken,
    served: JoinHandle<()>,
    _dir: TempDir,
}

impl Harness for OverTheWire {
    fn master_api(&self) -> Arc<dyn MasterApi> {
        self.remote.clone()
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }
}

async fn over_the_wire() -> OverTheWire {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(NOON);
    let around = Surroundings {
        clock: clock.clone(),
        random: SeededRandom::new(1),
        ids: seeded_ids(clock.clone(), 2),
        metrics: Metrics::new(&mut Registry::default()),
        space: Arc::new(FileSystem),
    };
    let data_dir = dir.path().to_owned();
    let config = Config { data_dir, store_reserve_bytes: 0, ..Config::default() };
    let store = Store::on(Arc::new(Memory::default()), config, around).unwrap();
    let stop = CancellationToken::new();
    let routes = server::master_api_routes(store, stop.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder().add_routes(routes).serve_with_incoming_shutdown(
        TcpIncoming::from(listener).with_nodelay(Some(true)),
        stop.clone().cancelled_owned(),
    );
    let served = tokio::spawn(async { serving.await.unwrap() });
    let peers = Peers::new(&[address], None, ClientConfig::default()).unwrap();
    let remote = RemoteMasterApi::connect(peers, PATIENCE, stop.child_token()).await.unwrap();
    OverTheWire { clock, remote: Arc::new(remote), stop, served, _dir: dir }
}

contract::log_conformance!(over_the_wire().await);

/// Who waits for news does not keep a server from stopping.
#[tokio::test]
async fn a_server_that_stops_answers_who_waits() {
    let world = over_the_wire().await;
    let head = world.remote.log_head().await.unwrap().sequence;
    let remote = world.remote.clone();
    let waiting = tokio::spawn(async move {
        let (wait, filter) = (contract::limits::LOG_WAIT_MAX, LogFilter::default());
        remote.facts(LogQuery { after: head, wait, filter, ..LogQuery::default() }).await
    });
    // It is asked before the stop, or it is refused: in both cases nobody waits.
    world.remote.log_head().await.unwrap();
    world.stop.cancel();
    tokio::time::timeout(contract::limits::LOG_WAIT_MAX / 2, world.served).await.unwrap().unwrap();
    drop(waiting.await.unwrap());
}
