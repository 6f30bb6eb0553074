//! Who is let in, and for how long; and that no secret is where it does not belong.

use super::harness::{Bench, config, open_at};
use crate::{
    fact::FactBody,
    log::read_fact,
    secrets::{SECRET_KEY_FILE, Sealer},
    store::{Batch, Rows, Scan, Table},
};
use contract::{
    ErrorCode, Result,
    access::{Actor, Principal, Roles, Session},
    authenticate::Authenticate,
    backoff::Span,
    clock::Timestamp,
    command::{Changeset, Command, Mode},
    master_api::Configuration,
    retention::Retention,
    secret::Secret,
    sending::SignatureScheme,
    testing::SeededRandom,
};
use identity::Identity;
use std::{collections::BTreeMap, time::Duration};

const PASSWORD: &str = "correct horse battery staple";

fn create(name: &str) -> Command {
    Command::CreateUser {
        name: name.into(),
        password: Secret::new(PASSWORD),
        roles: Roles::parse(["events:read"]).unwrap(),
        subscriber: None,
    }
}

async fn log_in(bench: &Bench, name: &str, password: &str) -> Result<Session> {
    bench.api.log_in(name.into(), Secret::new(password), None).await
}

async fn who(bench: &Bench, token: &Secret) -> Result<Principal> {
    let identity =
        Identity::new(&identity::Config::default(), bench.api.rules(), bench.clock.clone());
    identity.unwrap().authenticate(token).await
}

async fn refused(bench: &Bench, token: &Secret) -> bool {
    who(bench, token).await.is_err_and(|error| error.code == ErrorCode::Unauthenticated)
}

#[tokio::test]
async fn a_password_gives_a_token_that_works_for_its_time() {
    let bench = Bench::memory();
    bench.execute(vec![create("ada")]).await.unwrap();
    let session = log_in(&bench, "ada", PASSWORD).await.unwrap();
    let ada = who(&bench, &session.token).await.unwrap();
    assert_eq!((ada.name.as_str(), ada.roles.names()), ("ada", vec!["events:read".to_owned()]));
    assert!(matches!(ada.actor, Actor::User(_)));

    for (name, password) in [("ada", "correct horse battery stapl3"), ("eve", PASSWORD)] {
        let error = log_in(&bench, name, password).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
        assert_eq!(error.message, "the name or the password is wrong", "the same for both");
    }
    // What a user may do is looked up, not carried.
    let roles = Roles::parse(["sources:read"]).unwrap();
    bench.execute(vec![Command::SetUserRoles { name: "ada".into(), roles }]).await.unwrap();
    assert_eq!(who(&bench, &session.token).await.unwrap().roles.names(), ["sources:read"]);

    bench.clock.advance(Duration::from_secs(3599));
    let renewed = bench.api.renew_session(session.token.clone()).await.unwrap();
    bench.clock.advance(Duration::from_secs(1));
    assert!(refused(&bench, &session.token).await, "its hour is over");
    assert!(bench.api.renew_session(session.token).await.is_err());
    // Renewing ends when the password was given too long ago.
    let mut token = renewed.token;
    for _ in 0..11 {
        bench.clock.advance(Duration::from_secs(3500));
        token = bench.api.renew_session(token).await.unwrap().token;
    }
    bench.clock.advance(Duration::from_secs(3500));
    let ended = bench.api.renew_session(token).await.unwrap_err();
    assert_eq!(ended.code, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn whoever_is_disabled_removed_or_given_a_new_password_is_out_at_once() {
    let bench = Bench::memory();
    bench.execute(vec![create("ada")]).await.unwrap();
    let disabled = |disabled| Command::SetUserDisabled { name: "ada".into(), disabled };
    let token = log_in(&bench, "ada", PASSWORD).await.unwrap().token;
    bench.execute(vec![disabled(true)]).await.unwrap();
    assert!(refused(&bench, &token).await);
    assert!(log_in(&bench, "ada", PASSWORD).await.is_err());
    bench.execute(vec![disabled(false)]).await.unwrap();
    assert!(refused(&bench, &token).await, "a token from before stays out");

    let token = log_in(&bench, "ada", PASSWORD).await.unwrap().token;
    let password = Secret::new("another horse altogether");
    bench.execute(vec![Command::SetPassword { name: "ada".into(), password }]).await.unwrap();
    assert!(refused(&bench, &token).await);
    assert!(log_in(&bench, "ada", PASSWORD).await.is_err());
    let token = log_in(&bench, "ada", "another horse altogether").await.unwrap().token;
    bench.execute(vec![Command::RemoveUser("ada".into())]).await.unwrap();
    assert!(refused(&bench, &token).await);
    bench.execute(vec![create("ada")]).await.unwrap();
    assert!(refused(&bench, &token).await, "another user of the same name");
}

#[tokio::test]
async fn tries_are_counted_for_each_name() {
    let bench = Bench::memory();
    bench.execute(vec![create("ada")]).await.unwrap();
    for _ in 0..10 {
        let error = log_in(&bench, "ada", "not her password").await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
    }
    let error = log_in(&bench, "ada", PASSWORD).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert_eq!(error.retry_after, Some(Duration::from_secs(60)));
    bench.clock.advance(Duration::from_secs(60));
    assert!(log_in(&bench, "ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn tries_are_counted_for_each_address() {
    let bench = Bench::with_config(|config| config.login_tries_per_minute_and_address = 3);
    bench.execute(vec![create("ada")]).await.unwrap();
    let from = |address: &str| Some(address.parse().unwrap());
    let try_from = async |name: String, password: &str, address: &str| {
        bench.api.log_in(name, Secret::new(password), from(address)).await
    };
    for n in 0..3 {
        // Who knows the password is not counted.
        assert!(try_from("ada".into(), PASSWORD, "192.0.2.1").await.is_ok());
        let error = try_from(format!("guess {n}"), "123456", "192.0.2.1").await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unauthenticated);
    }
    let error = try_from("ada".into(), PASSWORD, "192.0.2.1").await.unwrap_err();
    assert_eq!(
        (error.code, error.retry_after),
        (ErrorCode::RateLimited, Some(Duration::from_secs(60)))
    );
    assert!(
        try_from("ada".into(), PASSWORD, "192.0.2.2").await.is_ok(),
        "others are not in the way"
    );
}

#[tokio::test]
async fn token_keys_rotate_and_what_the_old_one_signed_works_on() {
    let bench = Bench::memory();
    bench.execute(vec![create("ada")]).await.unwrap();
    let before = log_in(&bench, "ada", PASSWORD).await.unwrap().token;
    let rotate = |forget| Command::RotateTokenKey { forget };
    bench.execute(vec![rotate(false)]).await.unwrap();
    let after = log_in(&bench, "ada", PASSWORD).await.unwrap().token;
    let kid = |token: &Secret| token.expose().split('.').next().unwrap().to_owned();
    assert_ne!(kid(&before), kid(&after));
    assert!(who(&bench, &before).await.is_ok() && who(&bench, &after).await.is_ok());
    assert_eq!(bench.api.rules().borrow().token_keys.len(), 2);
    let state = bench.api.shared.state.load_full();
    let stored = state.token_keys.iter().filter(|key| state.secrets.contains_key(&key.id));
    assert_eq!(stored.count(), 1, "what signs no more is erased");

    bench.execute(vec![rotate(true)]).await.unwrap();
    assert!(refused(&bench, &before).await && refused(&bench, &after).await);
    assert_eq!(bench.api.rules().borrow().token_keys.len(), 1);
    // It survives a restart.
    let bench = Bench::embedded();
    bench.execute(vec![create("ada")]).await.unwrap();
    let token = log_in(&bench, "ada", PASSWORD).await.unwrap().token;
    let bench = bench.reopen().await;
    assert!(who(&bench, &token).await.is_ok());
    assert!(log_in(&bench, "ada", PASSWORD).await.is_ok());
    assert!(bench.api.verify().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_subscriptions_secret_is_rotated_with_overlap_and_revealed_on_record() {
    let bench = Bench::memory();
    bench.subscribe("ci").await;
    let signing = |bench: &Bench| {
        let rules = bench.api.rules().borrow().clone();
        let refs = rules.subscription_named("ci").unwrap().secrets.clone();
        rules.secrets_of(&refs).cloned().collect::<Vec<_>>()
    };
    let first = signing(&bench);
    let until = |bench: &Bench| {
        let rules = bench.api.rules().borrow().clone();
        let refs = &rules.subscription_named("ci").unwrap().secrets;
        let left = |until: Timestamp| until.since(super::harness::now(bench)).as_secs() / 3600;
        refs.iter().map(|secret| secret.until.map(left)).collect::<Vec<_>>()
    };
    let hours = |hours: u64| Some(Span(Duration::from_secs(hours * 3600)));
    let rotate =
        |keep| Command::RotateSecret { name: "ci".into(), scheme: SignatureScheme::V1, keep };
    let shown = bench.execute(vec![rotate(None)]).await.unwrap().remove(0).revealed.unwrap();
    assert_eq!(signing(&bench), [shown.clone(), first[0].clone()], "the newest first");
    assert_eq!(until(&bench), [None, Some(24)]);
    bench.clock.advance(Duration::from_secs(4 * 3600));
    let newest = bench.execute(vec![rotate(hours(48))]).await.unwrap().remove(0).revealed.unwrap();
    assert_eq!(signing(&bench), [newest.clone(), shown.clone(), first[0].clone()]);
    assert_eq!(until(&bench), [None, Some(48), Some(20)], "its time grows no longer");
    // What is over is taken away, and its bytes are gone.
    bench.clock.advance(Duration::from_secs(20 * 3600));
    bench.api.run_retention(false).await.unwrap();
    assert_eq!(signing(&bench), [newest.clone(), shown]);
    let last = configuration(&bench).pop().unwrap();
    assert!(matches!(last.body, FactBody::SecretErased { .. }), "{last:?}");
    let sealed = bench.api.shared.store.scan(&Scan::all(Table::Secrets, usize::MAX)).unwrap();
    assert_eq!(sealed.len(), bench.api.shared.state.load().secrets.len());
    let facts_before = configuration(&bench).len();
    bench.api.run_retention(false).await.unwrap();
    assert_eq!(configuration(&bench).len(), facts_before, "there is nothing more to take away");
    let wrong = bench.execute(vec![rotate(hours(91 * 24))]).await.unwrap_err();
    assert_eq!(wrong.code, ErrorCode::InvalidDefinition);
    bench.assert_verified().await;
    // Declared once more, it signs without end.
    let put = Command::PutSubscription {
        spec: super::harness::subscription("ci"),
        secrets: signing(&bench),
    };
    bench.execute(vec![put]).await.unwrap();
    assert_eq!(until(&bench), [None, None]);
    let only = bench.execute(vec![rotate(hours(0))]).await.unwrap().remove(0).revealed.unwrap();
    assert_eq!(signing(&bench), std::slice::from_ref(&only));

    let reveal = || vec![Command::RevealSecret { name: "ci".into() }];
    let dry = Changeset { commands: reveal(), dry_run: true, ..Changeset::default() };
    let dry = bench.api.execute(super::harness::operator(), dry).await.unwrap();
    assert_eq!(dry[0].revealed, None, "what is not recorded is not shown");
    let facts = |bench: &Bench| configuration(bench).len();
    let before = facts(&bench);
    assert_eq!(bench.execute(reveal()).await.unwrap().remove(0).revealed, Some(only));
    assert_eq!(facts(&bench), before + 1);
    let last = configuration(&bench).pop().unwrap();
    assert!(matches!(last.body, FactBody::SecretRevealed { .. }), "{last:?}");
    assert_eq!(last.actor, super::harness::operator());
    let unknown = Command::RevealSecret { name: "nobody".into() };
    assert_eq!(bench.execute(vec![unknown]).await.unwrap_err().code, ErrorCode::NotFound);
}

fn configuration(bench: &Bench) -> Vec<crate::fact::Fact> {
    let rows = bench.api.shared.store.scan(&Scan::all(Table::Configuration, usize::MAX)).unwrap();
    rows.iter().map(|row| read_fact(row).unwrap()).collect()
}

#[tokio::test]
async fn stamp_keys_rotate_and_the_old_ones_stay() {
    let bench = Bench::memory();
    let keys = || bench.api.rules().borrow().stamp_keys.clone();
    let before = keys();
    bench.execute(vec![Command::RotateStampKey]).await.unwrap();
    assert_eq!((keys().len(), &keys()[0]), (before.len() + 1, &before[0]));
    assert_ne!(keys()[1].1, before[0].1);
}

/// Marks of all rows of secrets: which key has sealed them.
fn marks(rows: &dyn Rows) -> Vec<Vec<u8>> {
    let rows = rows.scan(&Scan::all(Table::Secrets, usize::MAX)).unwrap();
    rows.iter().map(|(_, row)| row[..9].to_vec()).collect()
}

#[tokio::test]
async fn the_key_that_seals_is_exchanged_and_no_fact_is_touched() {
    let bench = Bench::embedded();
    bench.execute(vec![create("ada")]).await.unwrap();
    bench.subscribe("ci").await;
    let file = bench.directory.path().join(SECRET_KEY_FILE);
    let key = || std::fs::read_to_string(&file).unwrap();
    let (old_key, old_marks) = (key(), marks(&*bench.api.shared.store));
    let facts = configuration(&bench);
    bench.api.rotate_secret_key().await.unwrap();
    let new_marks = marks(&*bench.api.shared.store);
    assert_eq!(key().lines().count(), 1, "the old key is gone");
    assert_ne!(key(), old_key);
    assert_eq!(new_marks.len(), old_marks.len());
    assert!(new_marks.iter().all(|mark| *mark != old_marks[0] && *mark == new_marks[0]));
    assert_eq!(configuration(&bench), facts);
    // What comes after is sealed with the new key, too, and all is there after a restart.
    bench.execute(vec![create("bob")]).await.unwrap();
    let bench = bench.reopen().await;
    assert!(marks(&*bench.api.shared.store).iter().all(|mark| *mark == new_marks[0]));
    for name in ["ada", "bob"] {
        assert!(log_in(&bench, name, PASSWORD).await.is_ok());
    }
    assert!(bench.api.verify().await.unwrap().problems.is_empty());
}

/// A rotation that was cut short at each of its steps: the next start ends it.
#[tokio::test]
async fn a_rotation_that_was_cut_short_is_ended_by_the_next_start() {
    let (old, new) = ("11".repeat(32), "22".repeat(32));
    // How many of the rows were sealed anew, and what stood in the file.
    for (sealed, file) in
        [(0, format!("{new}\n{old}")), (2, format!("{new}\n{old}")), (9, new.clone())]
    {
        let bench = Bench::embedded();
        let path = bench.directory.path().join(SECRET_KEY_FILE);
        bench.execute(vec![create("ada")]).await.unwrap();
        bench.subscribe("ci").await;
        // From the key that was made to a known one, by the configuration.
        let made = std::fs::read_to_string(&path).unwrap();
        let mut bench = bench.closed().await;
        let given = Secret::new(format!("{old},{}", made.trim()));
        let given = crate::Config { secret_key: Some(given), ..config(bench.directory.path()) };
        bench.api = open_at(&bench.clock, given).unwrap();
        let store = bench.api.shared.store.clone();
        let keys = Secret::new(format!("{new} {old}"));
        let (both, random) = (Sealer::from_text(&keys).unwrap(), SeededRandom::new(5));
        let mut batch = Batch::default();
        for (id, secret) in bench.api.shared.vault.load().iter().take(sealed) {
            let row = both.seal(*id, secret, &*random).unwrap();
            batch.put(Table::Secrets, id.to_bytes(), row);
        }
        store.commit(batch).unwrap();
        drop(store);
        let mut bench = bench.closed().await;
        std::fs::write(&path, &file).unwrap();
        bench.api = open_at(&bench.clock, config(bench.directory.path())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), new, "{sealed} rows");
        let marks = marks(&*bench.api.shared.store);
        assert!(marks.iter().all(|mark| *mark == marks[0]));
        assert!(log_in(&bench, "ada", PASSWORD).await.is_ok());
    }
}

#[tokio::test]
async fn rows_of_the_older_form_are_read_and_sealed_anew() {
    let bench = Bench::embedded();
    bench.execute(vec![create("ada")]).await.unwrap();
    let store = bench.api.shared.store.clone();
    let mut batch = Batch::default();
    for (key, row) in store.scan(&Scan::all(Table::Secrets, usize::MAX)).unwrap() {
        batch.put(Table::Secrets, key.to_vec(), row[9..].to_vec());
    }
    store.commit(batch).unwrap();
    drop(store);
    let bench = bench.reopen().await;
    let marks = marks(&*bench.api.shared.store);
    assert!(marks.iter().all(|mark| mark[0] == 1 && *mark == marks[0]));
    assert!(log_in(&bench, "ada", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_key_that_the_configuration_gives_is_the_operators_to_exchange() {
    let bench = Bench::embedded().closed().await;
    let mut bench = bench;
    let made = std::fs::read_to_string(bench.directory.path().join(SECRET_KEY_FILE)).unwrap();
    let settings = |key: String| crate::Config {
        secret_key: Some(Secret::new(key)),
        ..config(bench.directory.path())
    };
    bench.api = open_at(&bench.clock, settings(made.clone())).unwrap();
    let error = bench.api.rotate_secret_key().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    let new = "33".repeat(32);
    let (both, alone) = (settings(format!("{new}, {made}")), settings(new));
    let mut bench = bench.closed().await;
    bench.api = open_at(&bench.clock, both).unwrap();
    let mut bench = bench.closed().await;
    bench.api = open_at(&bench.clock, alone).unwrap();
    let wrong = crate::Config {
        secret_key: Some(Secret::new("44".repeat(32))),
        ..config(bench.directory.path())
    };
    let bench = bench.closed().await;
    assert!(open_at(&bench.clock, wrong).is_err(), "the key of something else");
}

/// Looks for texts in all files below a directory.
fn files_with(directory: &std::path::Path, texts: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        // What is no text in it changes nothing about what is.
        let content = String::from_utf8_lossy(&bytes);
        let has = |text: &&String| content.contains(text.as_str());
        found.extend(texts.iter().find(has).map(|text| format!("{}: {text}", path.display())));
    }
    found
}

#[tokio::test]
async fn no_file_of_the_store_and_no_error_holds_a_secret() {
    let bench = Bench::embedded();
    bench.execute(vec![create("ada")]).await.unwrap();
    let session = log_in(&bench, "ada", PASSWORD).await.unwrap();
    let signing = Secret::webhook(b"a signing secret of 32 bytes....");
    let mut put = super::harness::put_subscription("ci");
    if let Command::PutSubscription { secrets, .. } = &mut put {
        *secrets = vec![signing.clone()];
    }
    bench.execute(vec![put.clone()]).await.unwrap();
    let vault = bench.api.shared.vault.load_full();
    let mut texts: Vec<_> = vault.values().map(|secret| secret.expose().to_owned()).collect();
    texts.extend([PASSWORD.to_owned(), session.token.expose().to_owned()]);
    let hash = texts.iter().find(|text| text.starts_with("$argon2id")).unwrap();
    let hash = hash.rsplit('$').next().unwrap().to_owned();
    texts.push(hash);

    let again = Changeset { commands: vec![put], mode: Mode::Create, ..Changeset::default() };
    let refusals = [
        bench.api.execute(super::harness::operator(), again).await.unwrap_err(),
        log_in(&bench, "eve", PASSWORD).await.unwrap_err(),
        bench.api.renew_session(Secret::new(format!("{PASSWORD}.x.y"))).await.unwrap_err(),
    ];
    let said = format!("{refusals:?}");
    assert!(texts.iter().all(|text| !said.contains(text.as_str())), "{said}");
    let facts = format!("{:?}", configuration(&bench));
    assert!(texts.iter().all(|text| !facts.contains(text.as_str())), "{facts}");

    let bench = bench.closed().await;
    let store = crate::log::store_in(bench.directory.path());
    assert_eq!(files_with(&store, &texts), Vec::<String>::new());
    // The search finds what is there.
    assert!(!files_with(&store, &["ada".to_owned()]).is_empty());
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_lazily_and_goes_with_it() {
    let bench = Bench::embedded();
    let issue = Command::IssueKey {
        name: "shop".into(),
        roles: Roles::parse(["producer"]).unwrap(),
        subscriber: None,
        expires_at: None,
    };
    let made = bench.execute(vec![issue]).await.unwrap().remove(0).id.unwrap();
    let id: contract::id::KeyId = made.parse().unwrap();
    let stranger = contract::id::KeyId::from_bytes([9; 16]);
    let now = super::harness::now(&bench);
    let seconds = |s| Duration::from_secs(s);
    let used = async |bench: &Bench, at: Timestamp| {
        let uses = BTreeMap::from([(id, at), (stranger, at)]);
        bench.api.note_key_uses(uses).await.unwrap();
        bench.api.key_uses().await.unwrap()
    };
    assert_eq!(bench.api.key_uses().await.unwrap(), BTreeMap::new());
    let facts = bench.api.shared.head().sequence;
    assert_eq!(used(&bench, now).await, BTreeMap::from([(id, now)]));
    // Not again within the minute, and never back.
    assert_eq!(used(&bench, now.after(seconds(30))).await, BTreeMap::from([(id, now)]));
    assert_eq!(used(&bench, now.before(seconds(90))).await, BTreeMap::from([(id, now)]));
    let later = now.after(seconds(60));
    assert_eq!(used(&bench, later).await, BTreeMap::from([(id, later)]));
    assert_eq!(bench.api.shared.head().sequence, facts, "no fact tells of it");
    bench.assert_verified().await;
    let bench = bench.reopen().await;
    assert_eq!(bench.api.key_uses().await.unwrap(), BTreeMap::from([(id, later)]));
    bench.execute(vec![Command::RevokeKey(id)]).await.unwrap();
    assert_eq!(used(&bench, later).await, BTreeMap::new());
}
