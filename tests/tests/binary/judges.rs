//! Other people's libraries verify what a subscriber gets, and ask what an operator asks.

use crate::process::{self, Process};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};
use tests::{Received, SIGNING_SECRET, Subscriber, get, github};

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
fn judge(program: Command, got: &Received, body: &[u8]) -> bool {
    judge_with(program, SIGNING_SECRET, got, body)
}

fn judge_with(mut program: Command, secret: &str, got: &Received, body: &[u8]) -> bool {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let mut running = program
        .arg(secret)
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

/// Ed25519 of two languages, each in a library of its own, over the public key as it is published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_and_javascript_verify_a_delivery_by_its_public_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    let rotate = ["subscription", "rotate-secret", "ci", "--scheme", "v1a"];
    let public = process::printed(&process::certes(dir.path(), &rotate)).trim().to_owned();
    assert!(public.starts_with("whpk_"), "{public}");
    let published = process::certes(dir.path(), &["subscription", "public-keys", "ci", "--json"]);
    let published: serde_json::Value = serde_json::from_str(&process::printed(&published)).unwrap();
    let path = published["path"].as_str().unwrap();
    let jwks = get(&format!("{}{path}", server.http)).await.unwrap().json();
    assert_eq!(jwks["keys"][0]["whpk"], public.as_str());
    let jwk = jwks["keys"][0].to_string();
    assert_eq!(github(&server.http, "push", "judge", PUSH).await.unwrap().status, 202);
    let got = subscriber.wait_for(1).await.remove(0);
    for (program, before, script) in [
        (variable("CERTES_TEST_PYTHON"), "-c", PYTHON_ED25519),
        ("node".to_owned(), "-e", NODE_ED25519),
    ] {
        let judge = |body: &[u8]| {
            let mut command = Command::new(&program);
            command.args([before, script]);
            if before == "-e" {
                command.arg("--");
            }
            judge_with(command, &jwk, &got, body)
        };
        assert!(judge(&got.body), "{program}");
        let mut altered = got.body.to_vec();
        altered[10] ^= 1;
        assert!(!judge(&altered), "{program} takes everything");
    }
}

const PYTHON_ED25519: &str = "\
import sys, json, base64
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
jwk, id, time, signature = json.loads(sys.argv[1]), *sys.argv[2:5]
key = Ed25519PublicKey.from_public_bytes(base64.b64decode(jwk['whpk'][len('whpk_'):]))
code = [s[4:] for s in signature.split(' ') if s.startswith('v1a,')][0]
key.verify(base64.b64decode(code), f'{id}.{time}.'.encode() + sys.stdin.buffer.read())
";

const NODE_ED25519: &str = "\
const [jwk, id, time, signature] = process.argv.slice(1);
const { createPublicKey, verify } = require('crypto');
const key = createPublicKey({ key: JSON.parse(jwk), format: 'jwk' });
const code = signature.split(' ').find((s) => s.startsWith('v1a,')).slice(4);
const signed = Buffer.concat([Buffer.from(`${id}.${time}.`), require('fs').readFileSync(0)]);
process.exit(verify(null, signed, key, Buffer.from(code, 'base64')) ? 0 : 1);
";

/// The official SDK reads what is sent as a CloudEvent, in both modes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sdk_of_cloud_events_reads_a_delivery() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    let manifest = std::fs::read_to_string(dir.path().join("certes.yaml")).unwrap();
    for (n, format) in ["cloudevents-binary", "cloudevents-structured"].into_iter().enumerate() {
        let text = manifest.replace("{name: ci,", &format!("{{name: ci, format: {format},"));
        std::fs::write(dir.path().join("certes.yaml"), text).unwrap();
        process::printed(&process::certes(dir.path(), &["apply", "-f", "certes.yaml"]));
        let event = github(&server.http, "push", format, PUSH).await.unwrap().id();
        let got = subscriber.wait_for(n + 1).await.remove(n);
        let headers =
            got.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let headers = serde_json::to_string(&headers.collect::<BTreeMap<_, _>>()).unwrap();
        let mut sdk = Command::new(variable("CERTES_TEST_PYTHON"));
        sdk.args(["-c", PYTHON_CLOUDEVENTS, headers.as_str(), &event]);
        let mut running = sdk.stdin(Stdio::piped()).spawn().unwrap();
        running.stdin.take().unwrap().write_all(&got.body).unwrap();
        assert!(running.wait().unwrap().success(), "{format}");
    }
}

const PYTHON_CLOUDEVENTS: &str = "\
import sys, json
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
body = sys.stdin.buffer.read()
event = from_http(HTTPMessage(headers=json.loads(sys.argv[1]), body=body), JSONFormat())
attributes = event.get_attributes()
assert attributes['id'] == sys.argv[2], attributes
assert attributes['source'] == '/events/github', attributes
assert attributes['type'] == 'github/1/push', attributes
assert attributes['time'].utcoffset().total_seconds() == 0, attributes
assert attributes['datacontenttype'] == 'application/json', attributes
assert event.get_data()['ref'] == 'refs/heads/main', event.get_data()
";

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
