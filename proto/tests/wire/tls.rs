//! Mutual TLS between the parts. `tls/` holds a test authority's certificate, one that it signed
//! and a stranger's.

use crate::{fake::Fake, samples};
use contract::{ErrorCode, broker::EventBroker};
use proto::{
    client::{Peers, RemoteBroker},
    config::{ClientConfig, Tls},
    server,
};
use tokio::net::TcpListener;
use tonic::transport::{Server, server::TcpIncoming};

fn part() -> Tls {
    Tls {
        ca: include_bytes!("tls/ca.pem").to_vec(),
        cert: include_bytes!("tls/part.pem").to_vec(),
        key: include_bytes!("tls/part.key").to_vec(),
    }
}

#[tokio::test]
async fn only_parts_of_the_same_authority_talk_to_each_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [format!("https://localhost:{}", listener.local_addr().unwrap().port())];
    let serving = Server::builder()
        .tls_config(server::peers_only(&part()))
        .unwrap()
        .add_routes(server::broker_routes(Fake::new()))
        .serve_with_incoming(TcpIncoming::from(listener));
    drop(tokio::spawn(serving));
    let broker = |tls: &Tls| {
        let peers = Peers::new(&addresses, Some(tls), ClientConfig::default()).unwrap();
        RemoteBroker::new(peers)
    };

    let accepted = broker(&part()).accept(samples::new_event()).await.unwrap();
    assert_eq!(accepted, samples::accepted());

    let stranger = Tls {
        cert: include_bytes!("tls/stranger.pem").to_vec(),
        key: include_bytes!("tls/stranger.key").to_vec(),
        ..part()
    };
    let error = broker(&stranger).accept(samples::new_event()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let credulous = Tls { ca: include_bytes!("tls/stranger.pem").to_vec(), ..part() };
    let error = broker(&credulous).accept(samples::new_event()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
}
