//! What manifests are read as, and which mistakes are named.

use super::*;
use contract::{
    event::Disposition,
    source::{Replay, Scheme},
};

const MANIFEST: &str = r#"
subscribers: [{id: org_123, name: Meetly}]
event_types: [{uri: "github/1/push", priority: 7}]
sources:
  - name: github
    verify: github
    secret: {env: GITHUB_SECRET}
    event_type: "github/1/{header:x-github-event}"
    unvalidated: reject
    invalid: quarantine
backoffs:
  - {for: global, direction: incoming, kind: exponential, base: 5s, factor: 3, cap: 1h, jitter: full, max_elapsed: 7d}
  - {for: "source:github", direction: incoming, kind: linear, base: 10s, max_retries: 20}
  - {for: "type:github/1/push", direction: outgoing, kind: logarithmic, base: 1m, max_retries: 8}
subscriptions:
  - name: ci
    url: http://127.0.0.1:9000/hook
    events: ["github/1/push", "github/1/*"]
    priority: 9
    backoff: {kind: constant, base: 1s, jitter: none, max_retries: 10}
    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
"#;

fn parsed(text: &str) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    let environment = |name: &str| (name == "GITHUB_SECRET").then(|| "hush".to_owned());
    parse(text, Path::new("."), &environment, &mut wanted)?;
    Ok(wanted)
}

#[test]
fn the_documented_shape_is_read() {
    let commands = parsed(MANIFEST).unwrap().changes.commands;
    assert_eq!(commands.len(), 7);
    let Command::PutSource { spec, secrets } = &commands[2] else { panic!("{:?}", commands[2]) };
    assert_eq!(spec.verify, Scheme::Github);
    assert_eq!(spec.invalid, Disposition::Quarantine);
    assert_eq!(secrets[0].expose(), "hush");
    let Command::PutSubscription { spec, secrets } = &commands[6] else {
        panic!("{:?}", commands[6])
    };
    assert_eq!((spec.events.len(), secrets.len()), (2, 1));
    assert_eq!(spec.backoff.as_ref().unwrap().max_retries, Some(10));
}

#[test]
fn a_source_says_how_it_proves_and_what_it_may_bring() {
    let text = r#"
sources:
  - name: shop
    verify: hmac
    secret: hush
    signature: {header: x-sig, algorithm: sha512, content: "{timestamp}.{body}", timestamp_header: x-time}
    replay: signature
    public_url: https://in.example.com/events/shop
    event_type: "{json:type}"
    event_types: {"order.paid": shop/1/paid}
    otherwise: shop/1/other
    response: {body: ok}
    limits: {requests_per_second: 50, allowed_networks: [192.0.2.0/24], event_types: ["shop/1/*"]}
    origins: [eventgrid.example.com]
  - {name: bank, verify: svix, secret: whsec_aHVzaA==, event_type: bank/1/moved, otherwise: reject}
"#;
    let commands = parsed(text).unwrap().changes.commands;
    let Command::PutSource { spec, .. } = &commands[0] else { panic!("{:?}", commands[0]) };
    assert_eq!(spec.signature.as_ref().unwrap().content().unwrap().len(), 3);
    assert_eq!(spec.replay, Replay::Signature);
    assert_eq!(spec.event_types["order.paid"].as_str(), "shop/1/paid");
    assert_eq!(spec.otherwise.as_ref().unwrap().as_str(), "shop/1/other");
    assert_eq!(spec.response.as_ref().unwrap().status, 200);
    assert_eq!((spec.limits.requests_per_second, spec.limits.burst), (Some(50), None));
    assert_eq!(spec.origins, ["eventgrid.example.com"]);
    let Command::PutSource { spec, .. } = &commands[1] else { panic!("{:?}", commands[1]) };
    assert_eq!((spec.verify, &spec.otherwise), (Scheme::StandardWebhooks, &None));
}

#[test]
fn json_is_yaml() {
    let text = r#"{"subscribers": [{"id": "a"}], "event_types": []}"#;
    assert_eq!(parsed(text).unwrap().changes.commands.len(), 1);
}

#[test]
fn settings_of_a_directory_go_to_each_of_its_schemas() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("shop/1")).unwrap();
    let text = "syntax = 'proto3'; message Paid {}";
    std::fs::write(dir.path().join("shop/1/paid.proto"), text).unwrap();
    let entry = |rest: &str| {
        let text = format!("schemas: [{{dir: '{}'{rest}}}]", dir.path().display());
        parsed(&text).unwrap().schemas.remove(0)
    };
    let plain = entry("");
    assert_eq!((plain.rulebook, plain.next_major), (None, false));
    let set = entry(", rulebook: wire, next_major: true, unknown_fields: reject");
    assert_eq!((set.rulebook, set.next_major), (Some(Rulebook::Wire), true));
    assert_eq!(set.unknown_fields, Some(UnknownFields::Reject));
}

#[test]
fn no_mistake_shows_a_secret() {
    for text in [
        "sources: [{name: a, verify: github, secret: hush-hush, event_type: x/1/y, typo: 1}]",
        "sources:\n - name: a\n   secret: hush-hush\n   verify: gitub\n   event_type: x/1/y",
        "sources: [{name: a, verify: none, event_type: x/1/y, secret: {envv: hush-hush}}]",
        "sources: [{secret: hush-hush",
    ] {
        let error = format!("{:#}", parsed(text).unwrap_err());
        assert!(!error.contains("hush-hush"), "{error}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("subscriptons: []", "subscriptons"),
        ("sources: [{name: a, verify: gitub, event_type: x/1/y}]", "gitub"),
        ("event_types: [{uri: push, priority: 7}]", "push"),
        ("event_types: [{uri: a/1/b, priority: 12}]", "12"),
        ("sources: [{name: a, verify: none, event_type: x/1/y, secret: {env: NOPE}}]", "NOPE"),
        ("backoffs: [{for: global, direction: incoming, kind: linear, bas: 1s}]", "bas"),
        ("schemas: [{dir: x, rulebook: strict}]", "strict"),
        ("sources: [{name: a, verify: hmac, event_type: x/1/y, signature: {hdr: x}}]", "hdr"),
        ("sources: [{name: a, verify: none, event_type: x/1/y, limits: {rate: 5}}]", "rate"),
        ("sources: [{name: a, verify: none, event_type: x/1/y, otherwise: nothing}]", "nothing"),
    ] {
        let error = format!("{:#}", parsed(text).unwrap_err());
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn how_deliveries_are_sent_is_read() {
    let spec = |more: &str| {
        let text = format!("subscriptions: [{{name: a, url: http://x/, events: [x/1/*], {more}}}]");
        match parsed(&text)?.changes.commands.remove(0) {
            Command::PutSubscription { spec, .. } => Ok(spec),
            other => bail!("{other:?}"),
        }
    };
    let read = spec(
        "format: cloudevents-structured, headers: {X-B: '2', x-a: '1'}, \
         auth: {oauth2: {token_url: https://l/, client_id: c, client_secret: {env: GITHUB_SECRET}}}",
    );
    let read = read.unwrap();
    assert_eq!(read.format, PayloadFormat::CloudeventsStructured);
    assert_eq!(read.headers.0, [("x-a", "1"), ("x-b", "2")].map(|(n, v)| (n.into(), v.into())));
    let auth = read.auth.unwrap();
    assert_eq!(
        (auth.method.as_str(), auth.credential),
        ("oauth2", Some(Secret::new("hush")).into())
    );
    let kept = spec("auth: {header: {name: X-Api-Key}}").unwrap().auth.unwrap();
    assert_eq!(kept.credential, contract::sending::Credential::Kept);
    for (more, part) in [
        ("auth: {}", "one of basic, bearer"),
        ("auth: {bearer: {token: a}, basic: {username: b}}", "one of basic, bearer"),
        ("auth: {bearer: {tokn: hush}}", "tokn"),
        ("auth: {bearer: {token: {env: NOPE}}}", "NOPE"),
        ("format: xml", "`xml` is no format"),
        ("auth: {mtls: {key: hush}}", "certificate"),
    ] {
        let error = format!("{:#}", spec(more).unwrap_err());
        assert!(error.contains(part) && !error.contains("hush"), "{more}: {error}");
    }
}
