//! Power cuts and kills at every step of a commit, by replaying the system calls of a real run:
//! whatever the disk may hold afterwards, the log opens, is whole, and has every event that was
//! acknowledged before. The store's memory tables are small, so a run meets flushes and compactions.
//!
//! `CERTES_POWER_SECONDS` goes on with other seeds for so long (`cargo xtask soak power`).

#![cfg(feature = "all")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "this is how a story fails, and a long run says where it is"
)]

mod disk;
mod trace;

use contract::{
    clock::SystemClock,
    id::EventId,
    master_api::Events,
    random::{Random, SystemRandom},
    testing::SeededRandom,
};
use disk::{Disk, Left};
use master_api::{Config, MasterApi, Metrics, log};
use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use trace::Call;

/// Events of a run.
const EVENTS: u64 = 160;
/// Calls, one after the other, each of which is a point to crash at.
const STEPS: usize = 10;
/// Points anywhere in the run.
const POINTS: usize = 6;
const CALLS: &str = "trace=open,openat,creat,read,write,writev,pwrite64,pwritev,lseek,ftruncate,\
                     fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,\
                     mkdirat,close,dup,dup2,fcntl";

#[tokio::test]
async fn no_power_cut_loses_what_was_acknowledged() {
    let seconds = std::env::var("CERTES_POWER_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let first = std::env::var("CERTES_POWER_SEED").ok().and_then(|text| text.parse().ok());
    for seed in first.unwrap_or(1_u64).. {
        let crashes = run(seed).await;
        println!("seed {seed}: {crashes} crashes, nothing lost");
        if Instant::now() >= until {
            break;
        }
    }
}

/// The disk itself can lose something: what no sync covers.
#[test]
fn a_write_that_no_sync_covers_is_lost() {
    let [root, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let file = root.path().join("f");
    let lines = format!(
        "1 openat(AT_FDCWD, \"f\", O_WRONLY|O_CREAT, 0666) = 3<{0}>\n\
         1 write(3<{0}>, \"\\x61\\x62\", 2) = 2\n\
         1 fdatasync(3<{0}> <unfinished ...>\n\
         2 write(3<{0}>, \"\\x63\", 1) = 1\n\
         1 <... fdatasync resumed>) = 0\n",
        file.display()
    );
    let mut disk = Disk::new(root.path());
    for call in trace::calls(&lines) {
        disk.take(&call);
    }
    let left = |left| {
        disk.crash(to.path(), left, &*SeededRandom::new(1));
        std::fs::read(to.path().join("f")).unwrap()
    };
    // The second write came after the sync had begun.
    assert_eq!(left(Left::Nothing), b"ab");
    assert_eq!(left(Left::All), b"abc");
    assert_eq!(disk.differences().len(), 1);
}

async fn run(seed: u64) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let calls = traced(directory.path(), &data, seed);
    let random = SeededRandom::new(seed);
    let changes = changes(&calls, &data);
    let points = points(changes, &*random);
    let mut disk = Disk::new(&data);
    let (mut acknowledged, mut change, mut crashes, mut tables) = (Vec::new(), 0, 0, 0);
    for call in &calls {
        if call.ends && call.name == "write" && call.descriptor().is_some_and(|(n, _)| n == 1) {
            let text = String::from_utf8(call.texts().concat()).unwrap();
            acknowledged.push(text.trim().parse::<EventId>().unwrap());
        }
        let is_new = call.ends && call.name == "openat" && call.text.contains("O_CREAT");
        let opened = if is_new { call.opened() } else { None };
        tables += usize::from(opened.is_some_and(|path| path.contains("/tables/")));
        if !disk.take(call) {
            continue;
        }
        change += 1;
        if !points.contains(&change) {
            continue;
        }
        for left in [Left::All, Left::Nothing, Left::Some] {
            let crashed = directory.path().join("crashed");
            disk.crash(&crashed, left, &*random);
            let found = check(&crashed, &acknowledged).await;
            found.unwrap_or_else(|error| {
                panic!("seed {seed}, change {change}, left {left:?}: {error}\n{}", call.name)
            });
            std::fs::remove_dir_all(&crashed).unwrap();
            crashes += 1;
        }
    }
    assert_eq!(disk.differences(), Vec::<String>::new(), "the model is not what happened");
    assert_eq!(acknowledged.len(), usize::try_from(EVENTS).unwrap());
    assert!(tables >= 5, "too few flushes to mean anything: {tables}");
    crashes
}

/// Runs the child under strace.
fn traced(directory: &Path, data: &Path, seed: u64) -> Vec<Call> {
    let file = directory.join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o"])
        .arg(&file)
        .arg(env!("CARGO_BIN_EXE_power-child"))
        .arg(data)
        .args([EVENTS.to_string(), seed.to_string()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    trace::calls(&std::fs::read_to_string(file).unwrap())
}

/// How many calls change something.
fn changes(calls: &[Call], data: &Path) -> usize {
    let mut disk = Disk::new(data);
    calls.iter().filter(|call| disk.take(call)).count()
}

fn points(changes: usize, random: &dyn Random) -> BTreeSet<usize> {
    let any = || {
        let mut dice = [0; 8];
        random.fill(&mut dice);
        usize::try_from(u64::from_le_bytes(dice) % u64::try_from(changes).unwrap()).unwrap()
    };
    let start = any();
    let steps = (start..start + STEPS).filter(|point| *point <= changes);
    steps.chain((0..POINTS).map(|_| any())).collect()
}

async fn check(data: &Path, acknowledged: &[EventId]) -> Result<(), String> {
    // Before the first start has got to its head file, there is nothing yet.
    let config = Config { data_dir: data.to_owned(), ..Config::default() };
    let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let api = MasterApi::open(config, clock, random, metrics).map_err(|error| error.to_string())?;
    for id in acknowledged {
        let payload = api.payload(*id).await.map_err(|error| error.to_string())?;
        let text = id.to_string();
        let whole = payload
            .is_some_and(|bytes| bytes.iter().copied().eq(text.bytes().cycle().take(bytes.len())));
        if !whole {
            return Err(format!("{id} is lost"));
        }
    }
    api.close().await;
    drop(api);
    let report = log::verify(data).map_err(|error| error.to_string())?;
    report.problems.first().map_or(Ok(()), |problem| Err(problem.clone()))
}
