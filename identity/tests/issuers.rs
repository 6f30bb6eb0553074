//! Tokens of other issuers, against a real small OpenID Connect server with keys of its own.

#![expect(clippy::unwrap_used, reason = "this is how a test fails")]

use axum::{Json, Router, extract::State, routing::get};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use contract::{
    ErrorCode,
    access::{Access, Actor, Noun, Principal},
    authenticate::Authenticate,
    backoff::Span,
    clock::{Clock, Timestamp},
    rules::Rules,
    secret::Secret,
    testing::ManualClock,
};
use identity::{Config, Identity, config::IssuerConfig};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch};

const NOW_S: i64 = 1_795_262_400;
const LEEWAY_S: i64 = 30;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An issuer: what it publishes, and how often it was asked.
struct Issuer {
    url: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "other": [1, 2]}))
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    Json(json!({"keys": *issuer.keys.lock().unwrap()}))
}

impl Issuer {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let der = include_str!("../test-data/rsa.der.b64").replace('\n', "");
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ecdsa =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        let issuer = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Mutex::default(),
            asked: AtomicUsize::new(0),
            rsa: RsaKeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap(),
            ecdsa: ecdsa.unwrap(),
        });
        *issuer.keys.lock().unwrap() = vec![
            json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"}),
            issuer.rsa_jwk("rsa-1"),
            issuer.ecdsa_jwk("ec-1"),
            json!({"kty": "new-kind", "kid": "x"}),
        ];
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .with_state(issuer.clone());
        drop(tokio::spawn(async move { axum::serve(listener, router).await }));
        issuer
    }

    fn rsa_jwk(&self, kid: &str) -> Value {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let n = base64(public.n);
        json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": "AQAB"})
    }

    fn ecdsa_jwk(&self, kid: &str) -> Value {
        let point = self.ecdsa.public_key().as_ref();
        let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y})
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.url, "aud": "certes", "sub": "u-1", "email": "ada@example.com",
            "groups": ["dev", "strangers"], "org": "org_1",
            "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 300,
        })
    }

    fn rs256(&self, kid: &str, claims: &Value) -> Secret {
        let message = unsigned(&json!({"alg": "RS256", "kid": kid, "typ": "JWT"}), claims);
        let mut signature = vec![0; 256];
        let random = SystemRandom::new();
        self.rsa.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
        Secret::new(format!("{message}.{}", base64(signature)))
    }

    fn es256(&self, kid: &str, claims: &Value) -> Secret {
        let message = unsigned(&json!({"alg": "ES256", "kid": kid}), claims);
        let signature = self.ecdsa.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        Secret::new(format!("{message}.{}", base64(signature)))
    }

    fn config(&self) -> IssuerConfig {
        let roles = [("dev", "events:read"), ("ops", "admin")];
        IssuerConfig {
            issuer: self.url.clone(),
            audience: "certes".into(),
            claim: "groups".into(),
            roles: roles.map(|(group, role)| (group.into(), vec![role.into()])).into(),
            subscriber_claim: None,
            name_claim: "email".into(),
        }
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64(header.to_string()), base64(claims.to_string()))
}

/// One that trusts these issuers.
fn identity(issuers: Vec<IssuerConfig>, refresh_after: Duration) -> (Identity, Arc<ManualClock>) {
    let clock = ManualClock::new(Timestamp(NOW_S * 1_000_000));
    let config = Config {
        issuers,
        refresh_after: Span(refresh_after),
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..Config::default()
    };
    let (_, rules) = watch::channel(Arc::new(Rules::default()));
    (Identity::new(&config, rules, clock.clone()).unwrap(), clock)
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

async fn code(identity: &Identity, token: &Secret) -> Result<Principal, ErrorCode> {
    identity.authenticate(token).await.map_err(|error| {
        assert!(!error.message.contains(token.expose()), "a refusal shows no token");
        error.code
    })
}

#[tokio::test]
async fn a_good_token_says_who_it_is() {
    let issuer = Issuer::start().await;
    let bound = IssuerConfig { subscriber_claim: Some("org".into()), ..issuer.config() };
    let (identity, clock) = identity(vec![issuer.config()], Duration::from_secs(10));
    let claims = issuer.claims();
    for token in [issuer.rs256("rsa-1", &claims), issuer.es256("ec-1", &claims)] {
        let who = identity.authenticate(&token).await.unwrap();
        let (issuer, subject) = (issuer.url.clone(), "u-1".to_owned());
        assert_eq!(who.actor, Actor::External { issuer, subject });
        assert_eq!((who.name.as_str(), who.subscriber.as_deref()), ("ada@example.com", None));
        assert!(who.roles.allow(Noun::Events, Access::Read), "the group `dev`");
        assert_eq!(who.roles.names().len(), 1, "a group that is not named means nothing");
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "keys are kept");

    let nested = json!({"realm": {"roles": "x ops"}});
    let claims = with(&with(&claims, "realm", nested["realm"].clone()), "groups", Value::Null);
    let config = IssuerConfig { claim: "realm.roles".into(), ..bound };
    let (identity, _) = self::identity(vec![config], Duration::from_secs(10));
    let who = identity.authenticate(&issuer.es256("ec-1", &claims)).await.unwrap();
    assert!(who.roles.allow(Noun::Keys, Access::Write), "texts with spaces, inside an object");
    assert_eq!(who.subscriber.as_deref(), Some("org_1"));
    let nobodys = with(&claims, "org", Value::Null);
    let refused = code(&identity, &issuer.es256("ec-1", &nobodys)).await;
    assert_eq!(refused, Err(ErrorCode::Unauthenticated), "bound to nobody would be to see all");
    drop(clock);
}

#[tokio::test]
async fn what_is_not_as_it_has_to_be_is_refused() {
    let issuer = Issuer::start().await;
    let (identity, clock) = identity(vec![issuer.config()], Duration::ZERO);
    let claims = issuer.claims();
    let good = issuer.rs256("rsa-1", &claims);
    assert!(code(&identity, &good).await.is_ok());

    let none = unsigned(&json!({"alg": "none"}), &claims);
    // The public key as a shared secret: the mistake that the choice of algorithm by the token
    // invites.
    let public = issuer.rsa_jwk("rsa-1")["n"].as_str().unwrap().to_owned();
    let confused = unsigned(&json!({"alg": "HS256", "kid": "rsa-1"}), &claims);
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), confused.as_bytes());
    let shared = unsigned(&json!({"alg": "HS256", "kid": "shared"}), &claims);
    let shared_tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), shared.as_bytes());
    let mut forged = good.expose().to_owned();
    let last = forged.pop().unwrap();
    let cut = forged.clone();
    forged.insert(forged.len() - 20, if last == 'A' { 'B' } else { 'A' });
    let (head, rest) = good.expose().split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let richer = with(&claims, "groups", json!(["ops"]));
    let swapped = format!("{head}.{}.{signature}", base64(richer.to_string()));
    let texts = [
        ("no algorithm", format!("{none}.")),
        ("the public key as a secret", format!("{confused}.{}", base64(tag))),
        ("a shared secret of the set", format!("{shared}.{}", base64(shared_tag))),
        ("another signature", forged),
        ("a signature that is cut", cut),
        ("other claims", swapped),
        ("nothing", "..".to_owned()),
        ("too long", format!("{}.x.y", "a".repeat(20_000))),
    ];
    for (what, text) in texts {
        let refused = code(&identity, &Secret::new(text)).await;
        assert_eq!(refused, Err(ErrorCode::Unauthenticated), "{what}");
    }

    let wrong = [
        ("for somebody else", "aud", json!("other")),
        ("for nobody", "aud", Value::Null),
        ("of an issuer that is not trusted", "iss", json!("https://other.example")),
        ("expired", "exp", json!(NOW_S - LEEWAY_S)),
        ("for ever", "exp", Value::Null),
        ("not yet valid", "nbf", json!(NOW_S + LEEWAY_S + 1)),
        ("from the future", "iat", json!(NOW_S + LEEWAY_S + 1)),
        ("of nobody", "sub", json!("")),
    ];
    for (what, claim, value) in wrong {
        let token = issuer.rs256("rsa-1", &with(&claims, claim, value));
        assert_eq!(code(&identity, &token).await, Err(ErrorCode::Unauthenticated), "{what}");
    }
    // Within the leeway, and one of several audiences.
    let right = [
        ("exp", json!(NOW_S - LEEWAY_S + 1)),
        ("nbf", json!(NOW_S + LEEWAY_S)),
        ("aud", json!(["other", "certes"])),
    ];
    for (claim, value) in right {
        let token = issuer.rs256("rsa-1", &with(&claims, claim, value));
        assert!(code(&identity, &token).await.is_ok(), "{claim}");
    }
    // A key of one kind does not verify what says that it is of the other.
    let crossed = issuer.es256("rsa-1", &claims);
    assert_eq!(code(&identity, &crossed).await, Err(ErrorCode::Unauthenticated));
    clock.advance(Duration::from_secs(331));
    assert_eq!(code(&identity, &good).await, Err(ErrorCode::Unauthenticated), "time has passed");
}

#[tokio::test]
async fn new_keys_are_found_and_unknown_ones_are_no_flood() {
    let issuer = Issuer::start().await;
    let (eager, clock) = identity(vec![issuer.config()], Duration::ZERO);
    let claims = issuer.claims();
    assert!(code(&eager, &issuer.rs256("rsa-1", &claims)).await.is_ok());
    issuer.keys.lock().unwrap().push(issuer.rsa_jwk("rsa-2"));
    assert!(code(&eager, &issuer.rs256("rsa-2", &claims)).await.is_ok(), "it asked again");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);

    let (patient, _) = identity(vec![issuer.config()], Duration::from_secs(3600));
    assert!(code(&patient, &issuer.rs256("rsa-1", &claims)).await.is_ok());
    for number in 0..20 {
        let unknown = issuer.rs256(&format!("unknown-{number}"), &claims);
        assert_eq!(code(&patient, &unknown).await, Err(ErrorCode::Unauthenticated));
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 3, "once, whatever tokens name");
    assert!(clock.now() > Timestamp(0));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_or_lies_lets_nobody_in() {
    let issuer = Issuer::start().await;
    let claims = issuer.claims();
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let config = IssuerConfig { issuer: url.clone(), ..issuer.config() };
    let (identity, _) = identity(vec![config], Duration::from_secs(3600));
    let token = issuer.rs256("rsa-1", &with(&claims, "iss", json!(url)));
    for _ in 0..2 {
        assert_eq!(code(&identity, &token).await, Err(ErrorCode::Unavailable));
    }
    // Its metadata names another issuer than the one that was asked.
    let alias = issuer.url.replace("127.0.0.1", "localhost");
    let config = IssuerConfig { issuer: alias.clone(), ..issuer.config() };
    let (identity, _) = self::identity(vec![config], Duration::ZERO);
    let token = issuer.rs256("rsa-1", &with(&claims, "iss", json!(alias)));
    assert_eq!(code(&identity, &token).await, Err(ErrorCode::Unavailable));
    // And an address that is not allowed is not asked at all.
    let before = issuer.asked.load(Ordering::SeqCst);
    let config = Config { issuers: vec![issuer.config()], ..Config::default() };
    let (_, rules) = watch::channel(Arc::new(Rules::default()));
    let clock = ManualClock::new(Timestamp(NOW_S * 1_000_000));
    let guarded = Identity::new(&config, rules, clock).unwrap();
    let token = issuer.rs256("rsa-1", &claims);
    assert_eq!(code(&guarded, &token).await, Err(ErrorCode::Unavailable));
    assert_eq!(issuer.asked.load(Ordering::SeqCst), before);
}
