//! `certes tail` shows events as they come, and finds the server again when it comes back.

use crate::process::{Process, apply, binary, certes, printed};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use tests::Subscriber;

const PUSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/examples/github/push.json");
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `certes tail`, line by line. Killed when it is dropped.
struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["tail", "--type", "github/1/push", "--json"])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| told.send(line))
        });
        Self { child, lines }
    }

    /// The id of the next event.
    fn id(&self, wait: Duration) -> Option<String> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                Some(event["id"].as_str().unwrap().to_owned())
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("tail has ended"),
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn send(dir: &Path) -> String {
    let sent = printed(&certes(dir, &["send", "github", "push", PUSH]));
    let (_, answer) = sent.split_once('{').unwrap();
    let answer: serde_json::Value = serde_json::from_str(&format!("{{{answer}")).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let subscriber = Subscriber::start().await.unwrap();
    let server = Process::serve(path);
    apply(path, &subscriber.url());
    let tail = Tail::start(path);
    // It shows what comes from when it is connected on: that is seen by what it shows first.
    let started = Instant::now();
    let first = loop {
        let sent = send(path);
        if let Some(shown) = tail.id(Duration::from_millis(300)) {
            break (sent, shown);
        }
        assert!(started.elapsed() < PATIENCE, "it shows nothing");
    };
    let mut shown = first.1;
    while shown != first.0 {
        shown = tail.id(PATIENCE).unwrap();
    }
    server.kill();

    // What comes in before it is back is shown, too.
    let _again = Process::serve(path);
    let sent = [send(path), send(path)];
    for id in sent {
        assert_eq!(tail.id(PATIENCE), Some(id));
    }
}
