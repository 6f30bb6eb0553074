//! Sources: what is refused, because it could not work, and what waits for every replica.

use super::harness::Bench;
use contract::{
    ErrorCode,
    command::{ChangeKind, Command},
    event::Disposition,
    secret::Secret,
    source::{Algorithm, Replay, Scheme, SignatureRule, SourceSpec, StaticResponse, Template},
};

/// A change that makes a definition unacceptable.
type Spoil = fn(&mut SourceSpec);

const URL: &str = "https://in.example.com/events/shop";

fn source(verify: Scheme) -> SourceSpec {
    SourceSpec::new("shop", verify, "shop/1/{header:x-event}")
}

async fn refused(bench: &Bench, spec: SourceSpec, secret: &str, expected: &str) {
    let command = Command::PutSource { spec, secrets: vec![Secret::new(secret)] };
    let error = bench.execute(vec![command]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition, "{expected}");
    assert!(error.message.contains(expected), "{expected}: {error}");
}

#[tokio::test]
async fn sources_that_cannot_work_are_refused_with_a_sentence() {
    let bench = Bench::memory();
    let spoils: &[(&str, Spoil)] = &[
        ("allowed are letters", |spec| spec.name = "a/b".into()),
        ("event_type: ", |spec| spec.event_type = Template("a/1/{body}".into())),
        ("not an event URI", |spec| spec.event_type = Template("github".into())),
        ("event_type is empty", |spec| spec.event_type = Template(String::new())),
        ("idempotency_key", |spec| spec.idempotency_key = Some(Template("{".into()))),
        ("reject and quarantine", |spec| spec.invalid = Disposition::Accept),
        ("body_bytes_max", |spec| spec.body_bytes_max = Some(0)),
        ("tolerance_s", |spec| spec.tolerance_s = Some(100_000)),
        ("there is no subscriber", |spec| spec.subscriber = Some("org_9".into())),
        ("only `hmac` and `api-key`", |spec| spec.signature = Some(Box::default())),
        ("public_url: ", |spec| spec.public_url = Some("in.example.com".into())),
        ("signs the URL", |spec| spec.verify = Scheme::Twilio),
        ("signs the URL", |spec| spec.verify = Scheme::Square),
        ("signs the URL", |spec| spec.verify = Scheme::Hubspot),
        ("64 hexadecimal", |spec| spec.verify = Scheme::Discord),
        ("P-256", |spec| spec.verify = Scheme::Sendgrid),
        ("user:password", |spec| spec.verify = Scheme::Basic),
        ("verify token:app secret", |spec| spec.verify = Scheme::Meta),
        ("expected none", |spec| spec.verify = Scheme::None),
        ("limits: requests_per_second", |spec| spec.limits.requests_per_second = Some(0)),
        ("limits: burst", |spec| spec.limits.burst = Some(7)),
        ("response: status", |spec| {
            let (content_type, body) = ("text/plain".into(), String::new());
            spec.response = Some(Box::new(StaticResponse { status: 302, content_type, body }));
        }),
        ("otherwise: ", |spec| spec.otherwise = "_certes/1/delivery_dead".parse().ok()),
        ("event_types: ", |spec| {
            spec.event_types.insert(String::new(), "shop/1/paid".parse().unwrap());
        }),
        ("origins: ", |spec| spec.origins = vec![String::new()]),
        ("no signature that could", |spec| {
            (spec.verify, spec.replay) = (Scheme::ApiKey, Replay::Signature);
        }),
    ];
    for (expected, spoil) in spoils {
        let mut spec = source(Scheme::Github);
        spoil(&mut spec);
        refused(&bench, spec, "s", expected).await;
    }

    type Spoiler = fn(&mut SignatureRule);
    let rules: &[(&str, Scheme, Spoiler)] = &[
        ("signs the URL", Scheme::Hmac, |rule| rule.content = Some("{url}{body}".into())),
        ("once", Scheme::Hmac, |rule| rule.content = Some("{method}".into())),
        ("not signed", Scheme::Hmac, |rule| rule.timestamp_header = Some("x-time".into())),
        ("no name of a header", Scheme::Hmac, |rule| rule.header = Some("x y".into())),
        ("only `header` and `prefix`", Scheme::ApiKey, |rule| rule.algorithm = Algorithm::Sha1),
    ];
    for (expected, verify, spoil) in rules {
        let mut rule = SignatureRule::default();
        spoil(&mut rule);
        let spec = SourceSpec { signature: Some(Box::new(rule)), ..source(*verify) };
        refused(&bench, spec, "s", expected).await;
    }

    for scheme in Scheme::ALL.iter().filter(|scheme| **scheme != Scheme::None) {
        let spec = SourceSpec { public_url: Some(URL.into()), ..source(*scheme) };
        let bare = Command::PutSource { spec, secrets: Vec::new() };
        let error = bench.execute(vec![bare]).await.unwrap_err();
        assert!(error.message.contains("needs a secret"), "{error}");
    }
}

#[tokio::test]
async fn a_source_keeps_the_secrets_it_has() {
    let bench = Bench::memory();
    let put = |secrets| Command::PutSource { spec: source(Scheme::Stripe), secrets };
    bench.execute(vec![put(vec![Secret::new("whsec_x")])]).await.unwrap();
    let changes = bench.execute(vec![put(Vec::new())]).await.unwrap();
    assert_eq!(changes[0].kind, ChangeKind::Unchanged);
}
