//! Under strace: a sync of the journal completes between the append and the answer.

use crate::process::{self, Process, binary};
use std::{path::Path, process::Command};
use tests::{Subscriber, github};

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
/// Marks the append and the answer of the event that is looked for.
const MARK: &str = "strace-finds-me";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_stands_between_append_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut launcher = Command::new("strace");
    let calls =
        "trace=write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync,sync_file_range";
    launcher.args(["-f", "-y", "-s", "4096", "-e", calls, "-o"]).arg(&trace).arg(binary());
    let server = Process::start(launcher, dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    for n in 0..5 {
        let answer = github(&server.http, "push", &format!("{MARK}-{n}"), PUSH).await.unwrap();
        assert_eq!(answer.status, 202);
    }
    subscriber.wait_for(5).await;
    end_traced(dir.path(), server);
    let trace = std::fs::read_to_string(trace).unwrap();
    for n in 0..5 {
        assert_synced(&trace, &format!("{MARK}-{n}"));
    }
}

/// Ends the traced server; strace ends with it, and its file is complete.
fn end_traced(dir: &Path, server: Process) {
    let file = std::fs::read(dir.join("data/server.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let id = file["pid"].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
    server.ended();
}

/// The journal is written with the mark, then synced, and only then a 202 goes out.
fn assert_synced(trace: &str, mark: &str) {
    let lines: Vec<_> = trace.lines().collect();
    let is_journal = |line: &str| line.contains("/data/") && line.contains(".jnl");
    let appended = lines
        .iter()
        .position(|line| line.contains("write") && is_journal(line) && line.contains(mark));
    let appended = appended.unwrap_or_else(|| panic!("{mark} was not appended"));
    let synced = lines[appended..].iter().position(|line| {
        let started_and_done = line.contains("sync(") && is_journal(line) && line.ends_with("= 0");
        let resumed = line.contains("sync resumed") && line.ends_with("= 0");
        started_and_done || resumed
    });
    let synced = appended + synced.unwrap_or_else(|| panic!("nothing was synced after {mark}"));
    let answered = lines[appended..].iter().position(|line| line.contains("202 Accepted"));
    let answered = appended + answered.unwrap_or_else(|| panic!("{mark} was not answered"));
    assert!(
        synced < answered,
        "the answer came before the sync:\n{}",
        lines[appended..=synced].join("\n")
    );
}
