//! `certes listen` brings deliveries to a local URL, finds the server again when it comes back, and
//! takes away what it made.

use crate::process::{Process, apply, binary, certes, printed};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tests::Subscriber;

const PUSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/examples/github/push.json");
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `certes listen`. Killed when it is dropped.
struct Listening(Child);

impl Listening {
    fn start(dir: &Path, url: &str) -> Self {
        let child = Command::new(binary())
            .args([
                "listen",
                "--events",
                "github/1/push",
                "github/1/ping",
                "--forward",
                url,
                "--json",
            ])
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// SIGINT; true if it then ended by itself and well.
    fn interrupt(mut self) -> bool {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
}

fn subscriptions(dir: &Path) -> String {
    printed(&certes(dir, &["subscription", "list"]))
}

/// Waits until the subscription that was made is there.
fn until_made(dir: &Path) {
    let started = Instant::now();
    while !subscriptions(dir).contains("listen-") {
        assert!(started.elapsed() < PATIENCE, "nothing was made");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_forwards_through_a_restart_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (subscriber, local) =
        (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let server = Process::serve(path);
    apply(path, &subscriber.url());
    let listening = Listening::start(path, &local.url());
    until_made(path);
    assert!(certes(path, &["send", "github", "push", PUSH]).status.success());
    assert_eq!(local.wait_for(1).await[0].header("certes-event-type"), "github/1/push");

    server.kill();
    let server = Process::serve(path);
    assert!(certes(path, &["send", "github", "push", PUSH]).status.success());
    let received = local.wait_for(2).await;
    assert_ne!(received[1].header("webhook-signature"), "");

    assert!(listening.interrupt());
    let left = subscriptions(path);
    assert!(left.contains("ci") && !left.contains("listen-"), "{left}");
    assert!(server.terminate());
}
