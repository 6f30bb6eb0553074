//! A disk that is really full: a file system of a few megabytes.

use super::harness::{Bench, config, event, open_at};
use contract::{
    ErrorCode,
    id::EventId,
    master_api::{Configuration, Events},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

const NAME: &str = "tests::full::what_was_acknowledged_outlives_a_full_disk";
/// The size of the file system, and of what somebody else has there and takes away later.
const SIZE: usize = 96 << 20;
const BALLAST: usize = 48 << 20;
/// Bytes of an event.
const PAYLOAD: usize = 64 << 10;

/// A file system that is gone with this value.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path) -> Self {
        let size = format!("size={SIZE}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status().unwrap();
        assert!(mounted.success(), "no file system can be mounted here");
        Self(at)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0).stderr(Stdio::null()).status());
    }
}

/// Whoever is not root becomes so in a name space of its own, and begins again there.
fn run_as_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let mut again = Command::new("unshare");
    let done = again.args(["--map-root-user", "--mount"]).arg(this).args(["--exact", NAME]);
    assert!(done.status().unwrap().success());
    true
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_full_disk() {
    if run_as_root() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let small = Small::mount(disk.path());
    let (data, ballast) = (disk.path().join("data"), disk.path().join("ballast"));
    let bench = Bench::memory();
    let api = open_at(&bench.clock, config(&data)).unwrap();
    fs::write(&ballast, vec![7; BALLAST]).unwrap();
    let mut acknowledged: Vec<EventId> = Vec::new();
    let refused = loop {
        let mut command = event(bench.new_id(), &[], api.rules().borrow().sequence);
        command.event.payload =
            vec![u8::try_from(acknowledged.len() % 251).unwrap(); PAYLOAD].into();
        let id = command.id;
        match api.store_event(command).await {
            Ok(_) => acknowledged.push(id),
            Err(error) => break error,
        }
        assert!(acknowledged.len() * PAYLOAD < SIZE, "it does not fill");
    };
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    assert!(!api.ready());
    let reasons: Vec<_> = api.health().borrow().reasons().collect();
    assert!(reasons[0].contains("cannot be written"), "{reasons:?}");
    // Nothing more is tried, not even if there was space again.
    fs::remove_file(&ballast).unwrap();
    let id = bench.new_id();
    let late = api.store_event(event(id, &[], api.rules().borrow().sequence)).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Unavailable);
    api.close().await;
    drop(api);

    let api = open_at(&bench.clock, config(&data)).unwrap();
    for (n, id) in acknowledged.iter().enumerate() {
        let payload = api.payload(*id).await.unwrap();
        assert_eq!(payload.map(|bytes| bytes[0]), Some(u8::try_from(n % 251).unwrap()), "{id}");
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    assert_eq!(api.event(id).await.unwrap(), None);
    let report = api.verify().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let command = event(bench.new_id(), &[], api.rules().borrow().sequence);
    api.store_event(command).await.unwrap();
    api.close().await;
    drop((api, small));
}
