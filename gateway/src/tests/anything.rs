//! Whatever bytes come: an answer, never a panic.

use super::world::{World, put_source, source};
use axum::body::Body;
use contract::{
    rules::Rules,
    source::{Scheme, SecretForm},
};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use proptest::prelude::*;
use tower::ServiceExt;

/// Names that mean something here, so that their values reach the code behind.
const NAMES: &[&str] = &[
    "authorization",
    "certes-hops",
    "stripe-signature",
    "webhook-request-origin",
    "x-convoy-signature",
    "x-hook0-signature",
    "x-hubspot-request-timestamp",
    "x-hubspot-signature-v3",
    "x-outpost-signature",
    "x-signature-ed25519",
    "x-signature-timestamp",
    "x-slack-request-timestamp",
    "x-slack-signature",
    "x-twilio-signature",
    "certes-subscriber",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "idempotency-key",
    "svix-id",
    "traceparent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-github-delivery",
    "x-github-event",
    "x-hub-signature-256",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"Bearer producer".to_vec()),
        Just(b"application/json".to_vec()),
        Just(b"application/x-www-form-urlencoded".to_vec()),
        Just(b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".to_vec()),
        Just(b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_vec()),
        Just(b"1795000000".to_vec()),
        "[0-9]{1,25}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        prop_oneof!["github", "standard", "open", "tenant", "broken"]
            .prop_map(|name| format!("/events/{name}")),
        (0..Scheme::ALL.len(), "(\\?[a-z_.]{0,12}=[a-zA-Z0-9%]{0,20})?")
            .prop_map(|(at, query)| format!("/events/of-{}{query}", Scheme::ALL[at])),
        "/events/[a-z0-9_.%/-]{0,40}",
        "/[ -~]{0,40}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        r#"\{"(type|uri|id)": ?("[a-z/0-9_.]{0,20}"|[0-9]{1,30}|\[\]|null)(, "id": "x")?\}"#
            .prop_map(String::into_bytes),
        "payload=[%0-9A-F{}a-z+&=]{0,40}".prop_map(String::into_bytes),
    ]
}

/// A source of every scheme.
fn put_all(rules: &mut Rules) {
    for scheme in Scheme::ALL {
        let secret = match scheme.facts().secret {
            SecretForm::Nothing => None,
            SecretForm::Text | SecretForm::Token => Some("hush".to_owned()),
            SecretForm::StandardWebhooks => Some("whsec_aHVzaA==".to_owned()),
            SecretForm::Ed25519 => Some("07".repeat(32)),
            SecretForm::P256 => Some(
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3\
                 GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
                    .to_owned(),
            ),
            SecretForm::UserPassword | SecretForm::TokenAndSecret => Some("a:b".to_owned()),
        };
        let mut spec = source(&format!("of-{scheme}"), *scheme, "of/1/{json:type}");
        spec.public_url = Some("https://in.example.com/x".to_owned());
        put_source(rules, spec, &secret.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_request_makes_the_server_fail(
        path in path(),
        headers in proptest::collection::vec((0..NAMES.len(), value()), 0..8),
        body in body(),
    ) {
        let Ok(uri) = path.parse::<Uri>() else { return Ok(()) };
        let mut request = Request::post(uri).body(Body::from(body)).unwrap();
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                request.headers_mut().append(HeaderName::from_static(NAMES[name]), value);
            }
        }
        let world = World::new();
        world.change_rules(put_all);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let response = runtime.block_on(world.router().oneshot(request)).unwrap();
        let is_broken_source = path == "/events/broken";
        let failed = response.status() == StatusCode::INTERNAL_SERVER_ERROR;
        prop_assert!(!failed || is_broken_source, "{}", path);
        let status = response.status();
        prop_assert!(status.is_success() || status.as_u16() >= 400, "{}", status);
    }
}
