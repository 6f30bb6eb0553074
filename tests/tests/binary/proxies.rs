//! A proxy that the environment names is not used: it would dial addresses that nobody has checked.

use crate::process::{Process, apply, binary, certes};
use std::{
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tests::Subscriber;

const PUSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/examples/github/push.json");
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_use_no_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let used = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&used);
    std::thread::spawn(move || {
        for _connection in proxy.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let subscriber = Subscriber::start().await.unwrap();
    let mut launcher = Command::new(binary());
    launcher.envs(VARIABLES.map(|variable| (variable, url.as_str()))).env_remove("NO_PROXY");
    let server = Process::start(launcher, dir.path());
    apply(dir.path(), &subscriber.url());
    assert!(certes(dir.path(), &["send", "github", "push", PUSH]).status.success());
    assert_eq!(subscriber.wait_for(1).await.len(), 1);
    assert_eq!(used.load(Ordering::SeqCst), 0);
    assert!(server.terminate());
}
