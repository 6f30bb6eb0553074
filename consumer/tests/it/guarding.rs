//! Where deliveries do not go, and whom they trust.

use crate::{
    dns,
    receiver::Receiver,
    world::{World, constant, open_config, spec},
};
use axum::response::IntoResponse;
use consumer::Config;
use contract::{
    backoff::Span,
    delivery::{Attempt, Cause},
    queue::Settlement,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

async fn attempt(url: &str, config: Config) -> Attempt {
    let world = World::new(spec(url, constant("10s", 3)), config);
    world.attempt_one().await.0
}

#[tokio::test]
async fn loopback_is_refused_in_every_spelling_unless_it_is_allowed() {
    let receiver = Receiver::answering(200).await;
    let port = receiver.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "a.localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "[::]",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let closed = Config { allowed_networks: Vec::new(), ..open_config() };
            let attempt = attempt(&format!("{scheme}://{host}:{port}/"), closed).await;
            assert_eq!(attempt.cause, Some(Cause::AddressRefused), "{scheme}://{host}");
            assert!(attempt.address.is_some());
        }
    }
    assert!(receiver.received().is_empty());
    for host in ["127.0.0.1", "localhost", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let attempt = attempt(&format!("http://{host}:{port}/"), open_config()).await;
        assert_eq!((attempt.cause, attempt.status), (None, Some(200)), "{host}");
        assert_eq!(attempt.address, Some(receiver.address.to_string()));
    }
}

#[tokio::test]
async fn private_and_metadata_addresses_are_refused_although_loopback_is_allowed() {
    for host in ["10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "192.168.1.1", "100.64.0.1"] {
        let attempt = attempt(&format!("http://{host}/latest/meta-data"), open_config()).await;
        assert_eq!(attempt.cause, Some(Cause::AddressRefused), "{host}");
    }
}

#[tokio::test]
async fn plain_http_does_not_leave_the_allowed_networks() {
    let attempt = attempt("http://8.8.8.8/", open_config()).await;
    assert_eq!(attempt.cause, Some(Cause::AddressRefused));
    assert!(attempt.error.unwrap().contains("plain http"));
}

#[tokio::test]
async fn a_url_that_cannot_be_delivered_to_is_said_to_be_misconfigured() {
    for url in ["ftp://127.0.0.1/", "not a url", "http://"] {
        let attempt = attempt(url, open_config()).await;
        assert_eq!(attempt.cause, Some(Cause::Misconfigured), "{url}");
    }
}

async fn with_names(answers: Vec<Vec<Ipv4Addr>>) -> (Config, Arc<std::sync::atomic::AtomicUsize>) {
    let (server, asked) = dns::serve(answers).await;
    (Config { nameservers: vec![server], ..open_config() }, asked)
}

#[tokio::test]
async fn a_name_that_means_a_private_address_is_refused() {
    let (config, asked) = with_names(vec![vec![Ipv4Addr::new(10, 0, 0, 7)]]).await;
    let attempt = attempt("http://internal.example.com/", config).await;
    assert_eq!(attempt.cause, Some(Cause::AddressRefused));
    assert_eq!(attempt.address.as_deref(), Some("10.0.0.7"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn of_several_addresses_only_an_allowed_one_is_dialled() {
    let receiver = Receiver::answering(200).await;
    let (config, _) = with_names(vec![vec![Ipv4Addr::new(10, 0, 0, 7), LOOPBACK]]).await;
    let url = format!("http://mixed.example.com:{}/", receiver.address.port());
    let attempt = attempt(&url, config).await;
    assert_eq!((attempt.cause, attempt.address), (None, Some(receiver.address.to_string())));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_on_every_attempt() {
    let receiver = Receiver::start(|_| [("connection", "close")].into_response()).await;
    let (config, _) = with_names(vec![vec![LOOPBACK], vec![Ipv4Addr::new(10, 0, 0, 7)]]).await;
    let url = format!("http://rebinding.example.com:{}/", receiver.address.port());
    let world = World::new(spec(&url, constant("10s", 3)), config);
    let (first, settlement) = world.attempt_one().await;
    assert_eq!((first.cause, settlement), (None, Settlement::Ack));
    world.add([2]).await;
    world.settlement(2).await;
    assert_eq!(world.attempts(2)[0].cause, Some(Cause::AddressRefused));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_name_server_that_is_silent_stalls_nobody() {
    let (config, _) = with_names(vec![Vec::new()]).await;
    let config = Config { dns_timeout: Span(Duration::from_millis(300)), ..config };
    let attempt = attempt("http://black-hole.example.com/", config).await;
    assert_eq!((attempt.cause, attempt.address), (Some(Cause::Dns), None));
    assert!(attempt.duration_ms < 2000, "{} ms", attempt.duration_ms);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_failure_of_its_own() {
    let nameservers = vec![dns::serve_no_name().await];
    let config = Config { nameservers, ..open_config() };
    let attempt = attempt("http://nobody.example.com/", config).await;
    assert_eq!((attempt.cause, attempt.address), (Some(Cause::Dns), None), "{:?}", attempt.error);
    assert!(attempt.duration_ms < 1900, "not by the time limit: {} ms", attempt.duration_ms);
}

fn test_data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test-data").join(file)
}

/// An https server that answers 200. Its certificate is for `localhost` and 127.0.0.1, from the test
/// authority beside it in `test-data/`: made once with openssl for a hundred years, and the
/// authority's key thrown away.
fn serve_tls() -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(test_data("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(test_data("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            // A client that does not trust us goes away in the handshake.
            while let Ok(read @ 1..) = stream.read(&mut chunk) {
                request.extend_from_slice(&chunk[..read]);
                if request.ends_with(b"spacing\"}") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn https_is_delivered_only_to_whom_a_trusted_authority_knows() {
    let url = format!("https://localhost:{}/", serve_tls().port());
    let trusting = || Config { extra_ca_file: Some(test_data("ca.pem")), ..open_config() };
    let delivered = attempt(&url, trusting()).await;
    assert_eq!((delivered.cause, delivered.status), (None, Some(200)), "{delivered:?}");

    let unknown = attempt(&url, open_config()).await;
    assert_eq!(unknown.cause, Some(Cause::Tls), "{unknown:?}");
    let other_name = url.replace("localhost", "other.localhost");
    assert_eq!(attempt(&other_name, trusting()).await.cause, Some(Cause::Tls));
}

#[tokio::test]
async fn https_to_a_plain_server_is_a_tls_failure() {
    let receiver = Receiver::answering(200).await;
    let url = receiver.url().replace("http:", "https:");
    assert_eq!(attempt(&url, open_config()).await.cause, Some(Cause::Tls));
}
