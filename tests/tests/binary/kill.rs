//! `kill -9` in the middle of everything loses nothing that was acknowledged.

use crate::process::{self, Processes};
use http::StatusCode;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tests::{Subscriber, Wiring, eventually, github, stories};

stories!(nothing_acknowledged_is_lost);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
/// Senders at once.
const SENDERS: usize = 8;
/// Events acknowledged before each kill.
const ACKNOWLEDGED: usize = 150;

async fn nothing_acknowledged_is_lost(wiring: Wiring) {
    let dir = tempfile::tempdir().unwrap();
    // Some attempts fail, so that each kill also finds retries waiting.
    let answer = |n| if n % 5 == 0 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(answer).await.unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut server = Processes::serve(wiring, dir.path());
    // Somebody who wants to be told of the source that comes next.
    let ops = format!(
        "subscriptions: [{{name: ops, url: \"{}\", events: [\"_certes/1/source_changed\"]}}]",
        subscriber.url()
    );
    std::fs::write(dir.path().join("ops.yaml"), ops).unwrap();
    process::printed(&process::certes(dir.path(), &["apply", "-f", "ops.yaml"]));
    process::apply(dir.path(), &subscriber.url());
    for round in 0..3 {
        acknowledged.extend(send_until_killed(server, round).await);
        server = Processes::serve(wiring, dir.path());
    }
    let delivered = eventually("every acknowledged event is delivered", async || {
        let good = subscriber.received().into_iter().filter(|got| got.answered == StatusCode::OK);
        let ids: BTreeSet<_> = good.map(|got| got.header("webhook-id").to_owned()).collect();
        acknowledged.is_subset(&ids).then_some(ids)
    })
    .await;
    assert!(acknowledged.len() >= 3 * ACKNOWLEDGED, "{}", acknowledged.len());
    assert!(delivered.iter().all(|id| id.starts_with("evt_")));
    // What was told before or between the kills is told once.
    let list = ["event", "list", "--type", "_certes/1/source_changed", "--json"];
    let told = eventually("the source is told", async || {
        let told = process::printed(&process::certes(dir.path(), &list));
        let told: Vec<serde_json::Value> = serde_json::from_str(&told).unwrap();
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(server.terminate());
    let verified = process::certes(dir.path(), &["log", "verify", "--data-dir", "data"]);
    process::printed(&verified);
}

/// Sends from several senders, and kills the server while they do. The ids of all events that
/// were acknowledged.
async fn send_until_killed(server: Processes, round: usize) -> BTreeSet<String> {
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    let killed = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (ids, killed, http) = (ids.clone(), killed.clone(), server.http.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let delivery = format!("round-{round}-sender-{sender}-{n}");
                    match github(&http, "push", &delivery, PUSH).await {
                        Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                            ids.lock().unwrap().insert(answer.id());
                        }
                        Ok(answer) => panic!("{:?}", answer.body),
                        Err(_) if killed.load(Ordering::SeqCst) => return,
                        Err(error) => panic!("{error:#}"),
                    }
                }
            })
        })
        .collect();
    eventually("enough events are acknowledged", async || {
        (ids.lock().unwrap().len() >= ACKNOWLEDGED).then_some(())
    })
    .await;
    killed.store(true, Ordering::SeqCst);
    server.kill();
    for sender in senders {
        sender.await.unwrap();
    }
    Arc::into_inner(ids).unwrap().into_inner().unwrap()
}
