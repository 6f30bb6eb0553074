//! Users: they log in, act under their own name, and are out as soon as they are disabled.

use axum::{Json, Router, routing::get as answer_get};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use contract::{access::Roles, command::Command, secret::Secret};
use http::Request;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use tests::{Answer, Deployment, Wiring, call, get, post, stories};
use tokio::net::TcpListener;

stories!(
    a_user_logs_in_and_acts,
    who_guesses_passwords_has_to_wait,
    disabled_and_revoked_means_out,
    another_issuer_vouches,
);

const PASSWORD: &str = "correct horse battery staple";

async fn make_user(certes: &Deployment, name: &str, roles: &[&str]) {
    let command = Command::CreateUser {
        name: name.to_owned(),
        password: Secret::new(PASSWORD),
        roles: Roles::parse(roles.iter().copied()).unwrap(),
        subscriber: None,
    };
    certes.remote().await.unwrap().execute_one(command).await.unwrap();
}

async fn log_in(certes: &Deployment, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password}).to_string();
    let headers = [("content-type", "application/json")];
    post(&format!("{}/api/login", certes.http), &headers, body).await.unwrap()
}

async fn token(certes: &Deployment, name: &str) -> String {
    let answer = log_in(certes, name, PASSWORD).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// Asks GraphQL with a header `authorization` of this form.
async fn ask(certes: &Deployment, authorization: &str, query: &str) -> (u16, Value) {
    let request = Request::post(format!("{}/api/graphql", certes.http))
        .header("content-type", "application/json")
        .header("authorization", authorization)
        .body(Bytes::from(json!({ "query": query }).to_string()));
    let answer = call(request.unwrap()).await.unwrap();
    (answer.status.as_u16(), answer.json())
}

async fn who_guesses_passwords_has_to_wait(wiring: Wiring) {
    let certes = Deployment::configured(wiring, |config| {
        config.master_api.login_tries_per_minute_and_address = 2;
        config.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let certes = certes.await.unwrap();
    make_user(&certes, "ada", &["events:read"]).await;
    let from = async |address: &str, name: &str, password: &str| {
        let body = json!({"username": name, "password": password}).to_string();
        let headers = [("content-type", "application/json"), ("x-forwarded-for", address)];
        post(&format!("{}/api/login", certes.http), &headers, body).await.unwrap()
    };
    for name in ["eve", "ada"] {
        assert_eq!(from("192.0.2.1", name, "a wrong password").await.status, 401);
    }
    let refused = from("192.0.2.1", "ada", PASSWORD).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (429, &json!("rate_limited")));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(from("192.0.2.2", "ada", PASSWORD).await.status, 200, "others are not in the way");
    certes.stop().await.unwrap();
}

async fn a_user_logs_in_and_acts(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    make_user(&certes, "ada", &["users:read", "subscriptions:write", "events:write"]).await;
    for (name, password) in [("ada", "a wrong password"), ("eve", PASSWORD)] {
        let refused = log_in(&certes, name, password).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json()["code"].clone()),
            (401, json!("unauthenticated"))
        );
        assert!(!String::from_utf8_lossy(&refused.body).contains(password));
    }
    let token = token(&certes, "ada").await;
    for scheme in ["Bearer", "JWT", "jwt"] {
        let (status, found) =
            ask(&certes, &format!("{scheme} {token}"), "{ me { name actor } }").await;
        assert_eq!((status, &found["data"]["me"]["name"]), (200, &json!("ada")), "{scheme}");
        assert!(found["data"]["me"]["actor"].as_str().unwrap().starts_with("user_"));
    }
    let bearer = format!("Bearer {token}");
    let (_, users) = ask(&certes, &bearer, "{ users { name roles disabled } }").await;
    assert_eq!(users["data"]["users"][0]["name"], "ada");
    let (_, denied) = ask(&certes, &bearer, "{ sources { name } }").await;
    assert_eq!(denied["errors"][0]["extensions"]["code"], "permission_denied");
    let mutation = "mutation { createUser(input: {name: \"eve\", password: \"0123456789abcdef\", \
                    roles: [\"admin\"]}) { id } }";
    let (_, denied) = ask(&certes, &bearer, mutation).await;
    assert_eq!(denied["errors"][0]["extensions"]["code"], "permission_denied");

    // The same token over gRPC, and for events.
    let as_ada = certes::remote::Remote::connect(&certes.http, Secret::new(&token)).await.unwrap();
    assert_eq!(as_ada.users().await.unwrap()[0].name, "ada");
    assert!(as_ada.sources().await.unwrap_err().to_string().contains("permission_denied"));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let event = post(&format!("{}/events/a/1/b", certes.http), &headers, "{}").await.unwrap();
    assert_eq!(event.json()["code"], "unknown_event_type", "let in, and no schema knows it");

    let keys = get(&format!("{}/api/.well-known/jwks.json", certes.http)).await.unwrap().json();
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["alg"], &key["e"]),
        (&json!("RSA"), &json!("RS256"), &json!("AQAB"))
    );
    assert!(key["d"].is_null() && key["n"].as_str().unwrap().len() == 342);
    let renew = Request::post(format!("{}/api/login/renew", certes.http));
    let renew = renew.header("authorization", &bearer).body(Bytes::new()).unwrap();
    let renewed = call(renew).await.unwrap();
    assert_eq!(renewed.status, 200, "{:?}", renewed.body);
    let malformed = post(&format!("{}/api/login", certes.http), &[], "{").await.unwrap();
    assert_eq!(malformed.json()["code"], "invalid_request");
    certes.stop().await.unwrap();
}

async fn disabled_and_revoked_means_out(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    make_user(&certes, "ada", &["events:read"]).await;
    let remote = certes.remote().await.unwrap();
    let issue = Command::IssueKey {
        name: "reader".into(),
        roles: Roles::parse(["events:read"]).unwrap(),
        subscriber: None,
        expires_at: None,
    };
    let key = remote.execute_one(issue).await.unwrap();
    let tokens = [token(&certes, "ada").await, key.revealed.unwrap().expose().to_owned()];
    let out = [
        Command::SetUserDisabled { name: "ada".into(), disabled: true },
        Command::RevokeKey(key.id.unwrap().parse().unwrap()),
    ];
    for (token, command) in tokens.into_iter().zip(out) {
        let bearer = format!("Bearer {token}");
        assert_eq!(ask(&certes, &bearer, "{ stats { accepted } }").await.0, 200);
        // The change went through this gateway, and is answered when the gateway shows it.
        remote.execute_one(command).await.unwrap();
        assert_eq!(ask(&certes, &bearer, "{ stats { accepted } }").await.0, 401);
        let as_them = certes::remote::Remote::connect(&certes.http, Secret::new(&token)).await;
        let refused = as_them.unwrap().stats().await.unwrap_err().to_string();
        assert!(refused.contains("unauthenticated"), "{refused}");
    }
    certes.stop().await.unwrap();
}

/// A small OpenID Connect issuer with a key of its own; gives its URL.
async fn issuer(key: &EcdsaKeyPair) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let point = key.public_key().as_ref();
    let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
    let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
    let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
    let router = Router::new()
        .route("/.well-known/openid-configuration", answer_get(async move || Json(metadata)))
        .route("/keys", answer_get(async move || Json(keys)));
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    url
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn another_issuer_vouches(wiring: Wiring) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    let key = key.unwrap();
    let url = issuer(&key).await;
    let trusted: certes::config::Issuer = serde_json::from_value(json!({
        "issuer": url, "audience": "certes", "roles": {"dev": ["events:read"]},
    }))
    .unwrap();
    let certes = Deployment::configured(wiring, |config| {
        config.identity.issuers = vec![trusted.clone()];
        config.identity.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await
    .unwrap();
    let token = |audience: &str| {
        let expires =
            contract::clock::Clock::now(&contract::clock::SystemClock).unix_seconds() + 60;
        let claims = json!({
            "iss": url, "aud": audience, "sub": "u-1", "exp": expires, "groups": ["dev"],
        });
        let head = base64(json!({"alg": "ES256", "kid": "k"}).to_string());
        let message = format!("{head}.{}", base64(claims.to_string()));
        let signature = base64(key.sign(&SystemRandom::new(), message.as_bytes()).unwrap());
        format!("{message}.{signature}")
    };
    let good = token("certes");
    let (_, me) = ask(&certes, &format!("JWT {good}"), "{ me { name actor roles } }").await;
    let expected = json!({
        "name": "u-1", "actor": format!("u-1 of {url}"), "roles": ["events:read"],
    });
    assert_eq!(me["data"]["me"], expected);
    let (_, denied) = ask(&certes, &format!("Bearer {good}"), "{ sources { name } }").await;
    assert_eq!(denied["errors"][0]["extensions"]["code"], "permission_denied");
    let remote = certes::remote::Remote::connect(&certes.http, Secret::new(&good)).await.unwrap();
    assert_eq!(remote.stats().await.unwrap().accepted, 0);
    assert_eq!(ask(&certes, &format!("Bearer {}", token("other")), "{ version }").await.0, 401);
    certes.stop().await.unwrap();
}
