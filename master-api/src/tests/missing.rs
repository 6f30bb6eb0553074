//! A log beside which a file is missing, or another one lies, is not taken for a whole or a new one.

use super::{
    damage::{accept, files, look},
    harness::{Bench, config, open_at},
};
use crate::log;
use contract::ErrorCode;
use std::fs;

#[tokio::test]
async fn a_log_without_a_head_file_is_not_served() {
    let bench = Bench::embedded().closed().await;
    let directory = bench.directory.path();
    let head = directory.join("head");
    for damage in [None, Some(""), Some("{")] {
        match damage {
            None => fs::remove_file(&head).unwrap(),
            Some(text) => fs::write(&head, text).unwrap(),
        }
        let open = || open_at(&bench.clock, config(directory));
        let error = open().unwrap_err();
        assert!(error.message.contains(&head.display().to_string()), "{damage:?}: {error}");
        assert!(error.message.contains("`certes log repair` lists"), "{damage:?}: {error}");
        let problems = log::verify(directory).unwrap().problems;
        assert!(problems[0].contains(&head.display().to_string()), "{damage:?}: {problems:?}");
        let loss = look(directory).unwrap();
        assert_eq!((loss.reached, loss.accepted), (None, false));
        assert!(open().is_err());
        assert!(accept(directory).unwrap().accepted);
        assert_eq!(look(directory), None);
        open().unwrap().close().await;
    }
}

#[tokio::test]
async fn where_a_log_was_no_new_one_begins() {
    for left in [vec!["head"], vec!["secret.key"], vec!["head", "secret.key"]] {
        let bench = Bench::embedded().closed().await;
        let directory = bench.directory.path();
        fs::remove_dir_all(log::store_in(directory)).unwrap();
        for file in ["head", "secret.key", "admin.key"] {
            if !left.contains(&file) {
                fs::remove_file(directory.join(file)).unwrap();
            }
        }
        let before = files(directory);
        let error = open_at(&bench.clock, config(directory)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable);
        let witness = directory.join(left[0]).display().to_string();
        assert!(error.message.contains(&witness), "{error}");
        assert!(files(directory) == before, "{left:?}");
    }
}

#[tokio::test]
async fn an_emptied_store_is_not_a_new_log() {
    let bench = Bench::embedded().closed().await;
    let directory = bench.directory.path();
    fs::remove_file(directory.join("head")).unwrap();
    fs::remove_dir_all(log::store_in(directory)).unwrap();
    fs::create_dir(log::store_in(directory)).unwrap();
    let error = open_at(&bench.clock, config(directory)).unwrap_err();
    assert!(error.message.contains("head is missing"), "{error}");
}

#[tokio::test]
async fn another_log_than_the_head_file_names_is_not_served() {
    let [one, other] = [Bench::embedded(), Bench::embedded()];
    for (bench, name) in [(&one, "a"), (&other, "b")] {
        bench.subscribe(name).await;
        bench.api.close().await;
    }
    let head = one.directory.path().join("head");
    std::fs::copy(&head, other.directory.path().join("head")).unwrap();
    let Bench { clock, directory, api, .. } = other;
    drop(api);
    let error = open_at(&clock, config(directory.path())).unwrap_err();
    assert!(error.message.contains("the log was changed"), "{error}");
}

#[tokio::test]
async fn verification_looks_at_the_secret_key() {
    let bench = Bench::embedded().closed().await;
    let directory = bench.directory.path();
    let key = directory.join("secret.key");
    let whole = log::verify(directory).unwrap();
    assert_eq!((whole.problems.len(), whole.notes.len()), (0, 0));
    fs::write(&key, "ab".repeat(32)).unwrap();
    let problems = log::verify(directory).unwrap().problems;
    assert!(problems[0].contains("does not fit"), "{problems:?}");
    fs::remove_file(&key).unwrap();
    let report = log::verify(directory).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.notes[0].contains("secret.key is missing"), "{:?}", report.notes);
}
