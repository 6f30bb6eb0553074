//! Other people's libraries verify what a subscriber gets, and ask what an operator asks.

use crate::process::{self, Process};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};
use tests::{Received, SIGNING_SECRET, Subscriber, github};

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

async fn delivered() -> Received {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    let answer = github(&server.http, "push", "judge", PUSH).await.unwrap();
    assert_eq!(answer.status, 202);
    subscriber.wait_for(1).await.remove(0)
}

/// Gives a judge secret, id, timestamp and signature as arguments, and the body on standard input.
fn judge(mut program: Command, got: &Received, body: &[u8]) -> bool {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let mut running = program
        .arg(SIGNING_SECRET)
        .args(names.map(|name| got.header(name)))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    running.stdin.take().unwrap().write_all(body).unwrap();
    running.wait().unwrap().success()
}

fn variable(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "how xtask tells where the judges are")]
    std::env::var(name).expect("run by `cargo xtask test --all`, which sets it")
}

fn assert_judged(got: &Received, program: impl Fn() -> Command) {
    assert!(judge(program(), got, &got.body));
    let mut altered = got.body.to_vec();
    altered[10] ^= 1;
    assert!(!judge(program(), got, &altered), "a judge that takes everything is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_and_javascript_verify_a_delivery() {
    let got = delivered().await;
    assert_judged(&got, || {
        let mut python = Command::new(variable("CERTES_TEST_PYTHON"));
        python.args([
            "-c",
            "import sys; from standardwebhooks import Webhook; a = sys.argv; \
             Webhook(a[1]).verify(sys.stdin.buffer.read(), {'webhook-id': a[2], \
             'webhook-timestamp': a[3], 'webhook-signature': a[4]})",
        ]);
        python
    });
    assert_judged(&got, || {
        let mut node = Command::new("node");
        node.env("NODE_PATH", variable("CERTES_TEST_NODE_MODULES")).args([
            "-e",
            "const [secret, id, time, signature] = process.argv.slice(1); \
             const { Webhook } = require('standardwebhooks'); \
             new Webhook(secret).verify(require('fs').readFileSync(0, 'utf8'), \
             {'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature})",
            "--",
        ]);
        node
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_asks_changes_and_listens_over_graphql() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    assert_eq!(github(&server.http, "push", "first", PUSH).await.unwrap().status, 202);
    let mut judge = Command::new(variable("CERTES_TEST_PYTHON"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/binary/operator_asks.py"))
        .arg(&server.http)
        .arg(dir.path().join("data/admin.key"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(judge.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready", "it asked in vain; its own words are above");
    assert_eq!(github(&server.http, "push", "second", PUSH).await.unwrap().status, 202);
    assert!(judge.wait().unwrap().success());
}
