//! TLS that cannot be trusted, or is none.

use super::{LONGEST, end};
use crate::world::{World, constant, open_config, spec};
use consumer::Config;
use contract::{
    delivery::{Attempt, Cause},
    subscription::SubscriptionSpec,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};
use tokio::time::timeout;

/// An authority that deliveries trust, in a file of its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn config(&self) -> Config {
        Config { extra_ca_file: Some(self.file.path().to_owned()), ..open_config() }
    }

    /// A server with a certificate of this authority that `change` has changed.
    fn serve(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> SocketAddr {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serve(certificate.der().clone(), &key)
    }
}

/// An https server that answers every request with 200.
fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
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
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
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

async fn attempt(host: &str, address: SocketAddr, config: Config) -> Attempt {
    let url = format!("https://{host}:{}/", address.port());
    let spec = SubscriptionSpec { timeout_ms: Some(1000), ..spec(&url, constant("10s", 3)) };
    let world = World::new(spec, config);
    timeout(LONGEST, world.attempt_one()).await.unwrap().0
}

#[tokio::test]
async fn a_certificate_in_order_is_delivered_to() {
    let authority = Authority::new();
    let address = authority.serve("localhost", |_| ());
    let attempt = attempt("localhost", address, authority.config()).await;
    assert_eq!(end(&attempt), (Some(200), None), "{attempt:?}");
}

#[tokio::test]
async fn one_that_has_expired_is_not() {
    let authority = Authority::new();
    let address = authority.serve("localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let attempt = attempt("localhost", address, authority.config()).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Tls)));
    assert!(attempt.error.unwrap().to_lowercase().contains("expired"));
}

#[tokio::test]
async fn one_that_is_not_valid_yet_is_not() {
    let authority = Authority::new();
    let address = authority.serve("localhost", |params| {
        params.not_before = date_time_ymd(2901, 1, 1);
        params.not_after = date_time_ymd(2902, 1, 1);
    });
    let attempt = attempt("localhost", address, authority.config()).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Tls)), "{attempt:?}");
}

#[tokio::test]
async fn one_for_another_host_is_not() {
    let authority = Authority::new();
    let address = authority.serve("elsewhere.example", |_| ());
    let by_name = attempt("localhost", address, authority.config()).await;
    assert_eq!(end(&by_name), (None, Some(Cause::Tls)), "{by_name:?}");
    let by_address = attempt("127.0.0.1", address, authority.config()).await;
    assert_eq!(end(&by_address), (None, Some(Cause::Tls)), "{by_address:?}");
}

#[tokio::test]
async fn one_that_signed_itself_is_not() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let address = serve(certificate.der().clone(), &key);
    let attempt = attempt("localhost", address, Authority::new().config()).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Tls)), "{attempt:?}");
}

/// A server that answers the first bytes of a handshake with these, and then says nothing more.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut hello = [0; 4096];
            // What is left of the connection is read until the client goes.
            if stream.read(&mut hello).is_ok() && stream.write_all(bytes).is_ok() {
                while stream.read(&mut hello).is_ok_and(|read| read > 0) {}
            }
        }
    });
    address
}

#[tokio::test]
async fn an_alert_is_a_tls_failure() {
    // Record of type alert, TLS 1.2, two bytes: fatal, handshake_failure (RFC 8446, section 6).
    let attempt = attempt("localhost", answering(b"\x15\x03\x03\x00\x02\x02\x28"), open_config());
    let attempt = attempt.await;
    assert_eq!(end(&attempt), (None, Some(Cause::Tls)), "{attempt:?}");
}

#[tokio::test]
async fn what_is_no_tls_is_a_tls_failure() {
    let attempt = attempt("localhost", answering(b"HTTP/1.1 400 Bad\r\n\r\n"), open_config()).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Tls)), "{attempt:?}");
}

#[tokio::test]
async fn a_handshake_that_stops_runs_into_the_time_limit() {
    let attempt = attempt("localhost", answering(b""), open_config()).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Timeout)), "{attempt:?}");
}
