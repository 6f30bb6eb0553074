//! How deliveries are to be sent: what is refused, and where the secrets of it go.

use super::harness::{Bench, signing_secret, subscription};
use crate::{decide, secrets::Vault, state::State, store::Scan};
use contract::{
    ErrorCode,
    backoff::Span,
    clock::Clock,
    command::{Change, ChangeKind, Changeset, Command, Target},
    id::SecretId,
    master_api::Configuration,
    retention::Retention,
    secret::Secret,
    sending::{Auth, AuthMethod, ClientCredentials, Credential, SignatureScheme, custom_headers},
    subscription::{SecretRef, SubscriptionSpec},
    testing::SeededRandom,
};
use std::time::Duration;

fn basic(password: Option<&str>) -> Auth {
    let method = AuthMethod::Basic { username: "ada".into() };
    Auth { method, credential: password.map(Secret::new).into() }
}

fn with(auth: Auth) -> SubscriptionSpec {
    SubscriptionSpec { auth: Some(auth), ..subscription("ci") }
}

async fn put(bench: &Bench, spec: SubscriptionSpec) -> contract::Result<Vec<Change>> {
    bench.execute(vec![Command::PutSubscription { spec, secrets: vec![signing_secret(1)] }]).await
}

/// The stored secret of the `auth` of `ci`, and its bytes as those who deliver have them.
fn stored(bench: &Bench) -> (SecretRef, Option<Secret>) {
    let rules = bench.api.rules().borrow().clone();
    let stored = rules.subscription_named("ci").unwrap().spec.credential().unwrap().clone();
    let bytes = rules.secrets.get(&stored.id).cloned();
    (stored, bytes)
}

#[tokio::test]
async fn a_credential_is_stored_under_lock_and_named_from_then_on() {
    let bench = Bench::memory();
    put(&bench, with(basic(Some("hush-hush")))).await.unwrap();
    let (first, bytes) = stored(&bench);
    assert_eq!(bytes, Some(Secret::new("hush-hush")));
    assert_eq!(first.fingerprint, Secret::new("hush-hush").fingerprint());
    // Given again, or not given: it stays.
    let again = [with(basic(Some("hush-hush"))), with(basic(None))];
    let read = bench.api.rules().borrow().subscription_named("ci").unwrap().spec.clone();
    for spec in again.into_iter().chain([read]) {
        assert_eq!(put(&bench, spec).await.unwrap()[0].kind, ChangeKind::Unchanged);
    }
    let changed = put(&bench, with(basic(Some("another one")))).await.unwrap();
    assert_eq!(changed[0].kind, ChangeKind::Changed);
    let (second, bytes) = stored(&bench);
    assert_ne!(first.id, second.id);
    assert_eq!(bytes, Some(Secret::new("another one")));
    let known = |id| bench.api.shared.state.load().secrets.contains_key(&id);
    assert_eq!((known(first.id), known(second.id)), (false, true), "the old one is erased");
    // Nothing that is stored shows either of them.
    let store = &bench.api.shared.store;
    for table in store.tables() {
        for (key, row) in store.scan(&Scan::all(table, usize::MAX)).unwrap() {
            for text in ["hush-hush", "another one"] {
                let shows = |bytes: &[u8]| bytes.windows(text.len()).any(|w| w == text.as_bytes());
                assert!(!shows(&key) && !shows(&row), "{table:?}");
            }
        }
    }
    // Without `auth`, and with the subscription, it goes.
    put(&bench, subscription("ci")).await.unwrap();
    assert!(!known(second.id));
    put(&bench, with(basic(Some("third")))).await.unwrap();
    let (third, _) = stored(&bench);
    bench.execute(vec![Command::Remove(Target::Subscription("ci".into()))]).await.unwrap();
    assert!(!known(third.id));
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_credential_goes_nowhere_that_it_was_not_given_for() {
    let bench = Bench::memory();
    let error = put(&bench, with(basic(None))).await.unwrap_err();
    assert!(error.message.contains("`basic` needs its password"), "{error}");
    put(&bench, with(basic(Some("hush")))).await.unwrap();
    let (held, _) = stored(&bench);
    // Another endpoint would be shown it.
    let elsewhere = |auth| SubscriptionSpec { url: "https://evil.example/".into(), ..with(auth) };
    let error = put(&bench, elsewhere(basic(None))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert!(error.message.contains("give the password again"), "{error}");
    let mut moved = with(basic(None));
    moved.url.push_str("/2");
    put(&bench, moved).await.unwrap();
    put(&bench, elsewhere(basic(Some("hush")))).await.unwrap();
    // It is no token, and nobody else's.
    let bearer = Auth { method: AuthMethod::Bearer, credential: Credential::Kept };
    let error = put(&bench, with(bearer)).await.unwrap_err();
    assert!(error.message.contains("`bearer` needs its token"), "{error}");
    let other = SecretRef { id: SecretId::from_bytes([7; 16]), ..held.clone() };
    for (name, named) in [("ci", other), ("cd", held)] {
        let auth = Auth { credential: Credential::Stored(named), ..basic(None) };
        let spec = SubscriptionSpec { name: name.into(), ..elsewhere(auth) };
        assert_eq!(put(&bench, spec).await.unwrap_err().code, ErrorCode::InvalidDefinition);
    }
    bench.assert_verified().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_with_a_sentence() {
    let bench = Bench::memory();
    let header = |name: &str| SubscriptionSpec {
        headers: custom_headers([(name.to_owned(), "1".to_owned())]),
        ..subscription("ci")
    };
    let client = |token_url: &str| {
        AuthMethod::Oauth2(Box::new(ClientCredentials {
            token_url: token_url.into(),
            client_id: "certes".into(),
            scopes: Vec::new(),
            audience: None,
            secret_in_body: false,
        }))
    };
    let given = |method, secret: &str| {
        with(Auth { method, credential: Credential::Given(Secret::new(secret)) })
    };
    let mtls = |url: &str| SubscriptionSpec {
        url: url.into(),
        ..given(AuthMethod::Mtls { certificate: "nothing".into() }, "hush")
    };
    for (expected, spec) in [
        ("headers: `host` cannot be set", header("Host")),
        ("auth: {header: {name: x-api-key", header("x-api-key")),
        ("auth: basic: password", with(basic(Some("")))),
        ("auth: token_url: `nowhere` is no URL", given(client("nowhere"), "hush")),
        ("it needs an https URL", mtls("http://127.0.0.1/")),
        ("there is no certificate in its PEM", mtls("https://127.0.0.1/")),
    ] {
        let error = put(&bench, spec).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidDefinition, "{expected}");
        assert!(error.message.contains(expected), "{expected}: {error}");
        assert!(!error.message.contains("hush"), "{error}");
    }
    assert!(bench.api.rules().borrow().subscriptions.is_empty());
}

#[tokio::test]
async fn a_log_that_older_programs_read_says_nothing_of_it() {
    let bench = Bench::memory();
    let mut state = State::clone(&bench.api.shared.state.load());
    let decide = |state: &State| {
        let command =
            Command::PutSubscription { spec: with(basic(Some("x"))), secrets: Vec::new() };
        let changes = Changeset { commands: vec![command], ..Changeset::default() };
        let (vault, random) = (Vault::default(), SeededRandom::new(1));
        let (now, ids) = (bench.clock.now(), bench.ids.as_ref());
        let (vault, random) = (&vault, random.as_ref());
        let given = decide::Given { state, vault, now, token_key: None, ids, random };
        decide::changeset(given, &changes).map(|decided| decided.facts.len())
    };
    assert_eq!(decide(&state), Ok(3));
    state.format = 4;
    let error = decide(&state).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("some replica is too old"), "{error}");
}

#[tokio::test]
async fn keys_and_secrets_are_rotated_and_declared_apart() {
    let bench = Bench::memory();
    let refs = || bench.api.rules().borrow().subscription_named("ci").unwrap().secrets.clone();
    let private = Secret::new("whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=");
    let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let put = |secrets: &[&Secret]| {
        let secrets = secrets.iter().map(|secret| (*secret).clone()).collect();
        vec![Command::PutSubscription { spec: subscription("ci"), secrets }]
    };
    // A key alone: the secret is made beside it, and shown.
    let made = bench.execute(put(&[&private])).await.unwrap().remove(0).revealed.unwrap();
    assert!(made.webhook_key().is_some() && made.expose().starts_with("whsec_"));
    let publics = || refs().into_iter().map(|one| one.public_key).collect::<Vec<_>>();
    assert_eq!(publics(), [None, Some(public.to_owned())]);
    let bytes = |at: usize| bench.api.rules().borrow().secrets.get(&refs()[at].id).cloned();
    assert_eq!((bytes(0), bytes(1)), (Some(made), Some(private.clone())));
    // Each kind stays where none of it is declared.
    bench.execute(put(&[&signing_secret(1)])).await.unwrap();
    assert_eq!((bytes(0), bytes(1)), (Some(signing_secret(1)), Some(private.clone())));
    assert_eq!(bench.execute(put(&[&private])).await.unwrap()[0].kind, ChangeKind::Unchanged);
    assert_eq!(bench.execute(put(&[])).await.unwrap()[0].kind, ChangeKind::Unchanged);

    let rotate = |scheme, keep| {
        let keep = Some(Span(Duration::from_secs(keep)));
        vec![Command::RotateSecret { name: "ci".into(), scheme, keep }]
    };
    let shown = bench.execute(rotate(SignatureScheme::V1a, 60)).await.unwrap().remove(0).revealed;
    let shown = shown.unwrap().expose().to_owned();
    assert_eq!(publics(), [None, Some(shown.clone()), Some(public.to_owned())]);
    let untils = || refs().into_iter().map(|one| one.until.is_some()).collect::<Vec<_>>();
    assert_eq!(untils(), [false, false, true], "the secret is another matter");
    let secret = bench.execute(rotate(SignatureScheme::V1, 0)).await.unwrap().remove(0).revealed;
    assert_eq!((bytes(0), publics().len()), (secret.clone(), 3));
    let reveal = vec![Command::RevealSecret { name: "ci".into() }];
    assert_eq!(bench.execute(reveal).await.unwrap()[0].revealed, secret);
    bench.clock.advance(Duration::from_secs(61));
    bench.api.run_retention(false).await.unwrap();
    assert_eq!(publics(), [None, Some(shown)]);
    for wrong in ["whsk_AAAA", "whsk_not base64"] {
        let error = bench.execute(put(&[&Secret::new(wrong)])).await.unwrap_err();
        assert!(error.message.contains("an ed25519 key") && !error.message.contains(wrong));
    }
    bench.assert_verified().await;
}
