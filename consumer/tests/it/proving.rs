//! What a subscriber can tell who sends by, beside the signatures.

use crate::{
    receiver::Receiver,
    world::{World, constant, open_config, spec},
};
use axum::{
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use contract::{
    delivery::Cause,
    id::{SecretId, SubscriptionNumber},
    queue::Settlement,
    secret::Secret,
    sending::{Auth, AuthMethod, ClientCredentials, Credential, custom_headers},
    subscription::{SecretRef, SubscriptionSpec},
};
use std::{sync::Arc, time::Duration};

fn stored(id: u8, secret: &str) -> Credential {
    let fingerprint = Secret::new(secret).fingerprint();
    Credential::Stored(SecretRef {
        id: SecretId::from_bytes([id; 16]),
        fingerprint,
        until: None,
        public_key: None,
    })
}

/// A world whose subscription proves itself so.
fn world(url: &str, method: AuthMethod, secret: &str) -> World {
    let auth = Some(Auth { method, credential: stored(50, secret) });
    let spec = SubscriptionSpec { auth, ..spec(url, constant("1s", 20)) };
    let mut world = World::still(spec, open_config());
    world.change_rules(|rules| {
        rules.secrets.insert(SecretId::from_bytes([50; 16]), Secret::new(secret));
    });
    world.start();
    world
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn headers_of_a_subscription_are_sent_in_the_place_of_the_events() {
    let receiver = Receiver::answering(200).await;
    let pairs = [("X-Tenant", "a b"), ("x-github-event", "mine")];
    let headers = custom_headers(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let spec = SubscriptionSpec { headers, ..spec(&receiver.url(), constant("1s", 3)) };
    let world = World::new(spec, open_config());
    world.attempt_one().await;
    let [request] = &receiver.received()[..] else { unreachable!("one request") };
    assert_eq!(header(&request.headers, "x-tenant"), "a b");
    let events: Vec<_> = request.headers.get_all("x-github-event").iter().collect();
    assert_eq!(events, ["mine"]);
    let kept = world.exchange(1).unwrap();
    assert_eq!(kept.added.get("x-tenant"), Some("a b"));
}

#[tokio::test]
async fn credentials_are_shown_to_the_endpoint_and_to_nobody_else() {
    let (basic, key) = ("Basic YWRhOmh1c2g6aHVzaA==", AuthMethod::Header { name: "x-door".into() });
    for (method, name, value) in [
        (AuthMethod::Basic { username: "ada".into() }, "authorization", basic),
        (AuthMethod::Bearer, "authorization", "Bearer hush:hush"),
        (key, "x-door", "hush:hush"),
    ] {
        let receiver = Receiver::answering(200).await;
        let world = world(&receiver.url(), method, "hush:hush");
        world.attempt_one().await;
        assert_eq!(header(&receiver.received()[0].headers, name), value);
        let kept = world.exchange(1).unwrap();
        let shown = kept.added.get(name).unwrap();
        assert!(shown.starts_with("*** ") && !shown.contains("hush"), "{shown}");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_sends_nothing() {
    let receiver = Receiver::answering(200).await;
    let auth = Some(Auth { method: AuthMethod::Bearer, credential: stored(51, "x") });
    let spec = SubscriptionSpec { auth, ..spec(&receiver.url(), constant("1s", 3)) };
    let world = World::new(spec, open_config());
    let (attempt, _) = world.attempt_one().await;
    assert_eq!(attempt.cause, Some(Cause::Misconfigured));
    assert!(attempt.error.unwrap().contains("the token of its auth is missing"));
    assert!(receiver.received().is_empty());
}

fn client(token_url: &str, secret_in_body: bool) -> AuthMethod {
    AuthMethod::Oauth2(Box::new(ClientCredentials {
        token_url: token_url.into(),
        client_id: "cert:es".into(),
        scopes: vec!["a".into(), "b".into()],
        audience: Some("api".into()),
        secret_in_body,
    }))
}

/// An endpoint that gives `token 1`, `token 2`, ..., each good for 100 seconds.
async fn tokens() -> Receiver {
    Receiver::start(|n| {
        let body =
            format!(r#"{{"access_token":"token{n}","token_type":"Bearer","expires_in":100}}"#);
        ([("content-type", "application/json")], body).into_response()
    })
    .await
}

#[tokio::test]
async fn one_token_is_fetched_for_all_who_wait_and_replaced_before_it_expires() {
    let (tokens, receiver) = (tokens().await, Receiver::answering(200).await);
    tokens.hold(true);
    let world = world(&receiver.url(), client(&tokens.url(), false), "s/e");
    world.add(1..=40).await;
    tokens.until_received(1).await;
    world.until("all are leased", |_, queue| queue.leased.len() == 40).await;
    tokens.hold(false);
    receiver.until_received(40).await;
    let asked = tokens.received();
    assert_eq!(asked.len(), 1, "once for all");
    assert_eq!(asked[0].body, "grant_type=client_credentials&scope=a+b&audience=api");
    // Both parts are form-encoded before they are joined: cert%3Aes:s%2Fe
    assert_eq!(header(&asked[0].headers, "authorization"), "Basic Y2VydCUzQWVzOnMlMkZl");
    let bearers = receiver.received();
    assert!(bearers.iter().all(|r| header(&r.headers, "authorization") == "Bearer token1"));

    world.settlement(40).await;
    world.clock.advance(Duration::from_secs(89));
    world.add([41]).await;
    world.settlement(41).await;
    assert_eq!(tokens.received().len(), 1);
    world.clock.advance(Duration::from_secs(1));
    world.add([42]).await;
    world.settlement(42).await;
    assert_eq!(header(&receiver.received()[41].headers, "authorization"), "Bearer token2");
    // Other credentials, other tokens; another change keeps them.
    world.change_subscription(|ci| ci.spec.timeout_ms = Some(4000));
    world.add([43]).await;
    world.settlement(43).await;
    assert_eq!(tokens.received().len(), 2);
    let url = tokens.url();
    world.change_subscription(|ci| {
        ci.spec.auth.as_mut().unwrap().method = client(&url, true);
    });
    world.add([44]).await;
    world.settlement(44).await;
    let asked = &tokens.received()[2];
    let body = "grant_type=client_credentials&scope=a+b&audience=api&client_id=cert%3Aes&client_secret=s%2Fe";
    assert_eq!((&asked.body[..], header(&asked.headers, "authorization")), (body.as_bytes(), ""));
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_replaced_once() {
    let tokens = tokens().await;
    // The endpoint has forgotten the first token after one request, and takes none from the fifth on.
    let receiver = Receiver::start(|n| match n {
        1 | 3 => StatusCode::OK.into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    })
    .await;
    let world = world(&receiver.url(), client(&tokens.url(), false), "s");
    let (first, _) = world.attempt_one().await;
    assert_eq!(first.cause, None);
    world.add([2]).await;
    assert_eq!(world.settlement(2).await, Settlement::Ack, "with another token");
    assert_eq!((receiver.received().len(), tokens.received().len()), (3, 2));
    assert_eq!(world.attempts(2).len(), 1);
    world.add([3]).await;
    assert!(matches!(world.settlement(3).await, Settlement::Nack(_)));
    let attempt = world.attempts(3).remove(0);
    assert_eq!((attempt.status, attempt.cause), (Some(401), Some(Cause::Status)));
    assert_eq!((receiver.received().len(), tokens.received().len()), (5, 3), "and no more");
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_cause_is_its_own() {
    let refusing = Receiver::start(|_| {
        (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client","hush":1}"#).into_response()
    })
    .await;
    let (silent, receiver) = (tokens().await, Receiver::answering(200).await);
    silent.hold(true);
    let metadata = "http://169.254.169.254/token".to_owned();
    for (url, part) in [
        (refusing.url(), "its endpoint answered 401: invalid_client"),
        (silent.url(), "did not answer in time"),
        (metadata, "169.254.169.254"),
    ] {
        let world = world(&receiver.url(), client(&url, false), "s");
        world.change_subscription(|ci| ci.spec.timeout_ms = Some(1000));
        let (attempt, settlement) = world.attempt_one().await;
        assert_eq!(attempt.cause, Some(Cause::Auth), "{attempt:?}");
        let error = attempt.error.unwrap();
        assert!(error.contains(part) && !error.contains("hush"), "{error}");
        assert!(matches!(settlement, Settlement::Nack(_)), "it is tried again");
        assert_eq!(world.exchange(1), None);
        if url == refusing.url() {
            world.add([2]).await;
            world.settlement(2).await;
            assert_eq!(refusing.received().len(), 1, "nobody asks twice within a second");
            world.clock.advance(Duration::from_secs(2));
            world.settlement(4).await;
            assert_eq!(refusing.received().len(), 2);
        }
    }
    assert!(receiver.received().is_empty());
}

mod certificates {
    use super::*;
    use crate::world::PAYLOAD;
    use consumer::Config;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        RootCertStore, ServerConfig, ServerConnection, StreamOwned, server::WebPkiClientVerifier,
    };
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::Mutex,
    };

    type Shown = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

    /// A server that asks for certificates of the authority; notes which connection showed whose.
    fn serve(authority: &CertifiedIssuer<'static, KeyPair>) -> (u16, Shown) {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.der().clone()], key.into())
            .unwrap();
        let (config, shown) = (Arc::new(config), Shown::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let noted = Arc::clone(&shown);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (config, noted) = (Arc::clone(&config), Arc::clone(&noted));
                std::thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    let mut stream = StreamOwned::new(connection, stream.unwrap());
                    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
                    while let Ok(read @ 1..) = stream.read(&mut chunk) {
                        request.extend_from_slice(&chunk[..read]);
                        if request.ends_with(PAYLOAD) {
                            let whose = stream.conn.peer_certificates().unwrap()[0].to_vec();
                            noted.lock().unwrap().push((number, whose));
                            stream
                                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                                .unwrap();
                            request.clear();
                        }
                    }
                });
            }
        });
        (port, shown)
    }

    #[tokio::test]
    async fn no_subscription_rides_on_anothers_connection() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (port, shown) = serve(&authority);
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let url = format!("https://localhost:{port}/hook");
        let config = Config { extra_ca_file: Some(ca), ..open_config() };
        let certify = |id: u8, world: &World| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![format!("client{id}")]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            let (pem, text) = (certificate.pem(), key.serialize_pem());
            let method = AuthMethod::Mtls { certificate: pem };
            let auth = Auth { method, credential: stored(id, &text) };
            world.change_rules(|rules| {
                rules.secrets.insert(SecretId::from_bytes([id; 16]), Secret::new(text));
                let ci = rules.subscriptions.get_mut(&SubscriptionNumber(1)).unwrap();
                Arc::make_mut(ci).spec.auth = Some(auth);
            });
            certificate.der().to_vec()
        };
        let world = World::new(spec(&url, constant("1s", 0)), config);
        let (without, _) = world.attempt_one().await;
        assert!(matches!(without.cause, Some(Cause::Tls | Cause::Reset)), "{without:?}");
        let one = certify(60, &world);
        world.add([2]).await;
        world.settlement(2).await;
        world.add([3]).await;
        world.settlement(3).await;
        let two = certify(61, &world);
        world.add([4]).await;
        assert_eq!(world.settlement(4).await, Settlement::Ack);
        let shown = shown.lock().unwrap().clone();
        let whose: Vec<_> = shown.iter().map(|(_, whose)| whose).collect();
        assert_eq!(whose, [&one, &one, &two]);
        let connections: Vec<_> = shown.iter().map(|(number, _)| number).collect();
        assert_eq!(connections[0], connections[1], "its own connection is used again");
        assert_ne!(connections[1], connections[2]);
    }
}
