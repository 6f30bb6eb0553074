//! The commands about the log, where that is in PostgreSQL.

use crate::process::{self, Process, binary, certes, printed};
use std::{
    path::Path,
    process::{Command, Output, Stdio},
};
use tests::{Subscriber, eventually, github};
use xtask::postgres::Server;

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const KEY: &str = "4444444444444444444444444444444444444444444444444444444444444444";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_verified_exported_and_copied_while_it_is_written() {
    let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let database = Server::make().unwrap();
    database.start(&[]).unwrap();
    let server = serve(&database, dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    for n in 0..5 {
        let answer = github(&server.http, "push", &format!("d-{n}"), PUSH).await.unwrap();
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    eventually("all are delivered", async || {
        let stats = printed(&certes(dir.path(), &["delivery", "list", "--json"]));
        (stats.matches("delivered").count() >= 5).then_some(())
    })
    .await;

    let verified = verify(&database, dir.path());
    assert!(printed(&verified).starts_with("ok: "), "{verified:?}");
    let exported = printed(&certes(dir.path(), &["log", "export"]));
    assert_eq!(exported.matches("\"event_accepted\"").count(), 5, "{exported}");
    // A backup becomes a data directory, whose log is whole, too.
    let made = printed(&certes(dir.path(), &["backup", "copy", "--json"]));
    assert!(made.contains("\"payloads\":5"), "{made}");
    let copy = dir.path().join("copy");
    let restore = ["restore", copy.to_str().unwrap(), "--data-dir", "data"];
    assert!(printed(&certes(other.path(), &restore)).contains("restored and verified"));
    // What is about a directory says where else to look.
    for command in ["verify", "rebuild", "repair"] {
        let refused = certes(dir.path(), &["log", command]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--store URL"), "{refused:?}");
    }

    // The database's own tools make a copy that a server goes on from.
    let second = Server::make().unwrap();
    second.start(&[]).unwrap();
    dump(&database, &second);
    assert!(server.terminate());
    assert!(printed(&verify(&second, dir.path())).starts_with("ok: "));
    std::fs::copy(dir.path().join("data/admin.key"), other.path().join("data/admin.key")).unwrap();
    let server = serve(&second, other.path());
    let again = github(&server.http, "push", "d-0", PUSH).await.unwrap();
    assert_eq!(again.headers["certes-duplicate"], "true");
    assert!(server.terminate());

    // What somebody changed in the tables is found.
    let sql = "UPDATE certes.configuration SET value = overlay(value PLACING '\\x00' FROM 60 FOR 1) \
               WHERE key = (SELECT key FROM certes.configuration ORDER BY key DESC LIMIT 1)";
    psql(&second, &["-c", sql], Stdio::null());
    let changed = verify(&second, dir.path());
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    let empty = Server::make().unwrap();
    empty.start(&[]).unwrap();
    let nothing = verify(&empty, dir.path());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no log in schema `certes`"));
}

fn serve(database: &Server, dir: &Path) -> Process {
    let mut launcher = Command::new(binary());
    launcher.env("CERTES_MASTER_API__STORE", database.url()).env("CERTES_SECRET_KEY", KEY);
    Process::start(launcher, dir)
}

fn verify(database: &Server, dir: &Path) -> Output {
    certes(dir, &["log", "verify", "--store", &database.url()])
}

fn dump(from: &Server, to: &Server) {
    let mut dump = from.program("pg_dump");
    let mut dump = dump.args(["-n", "certes", &from.url()]).stdout(Stdio::piped()).spawn().unwrap();
    psql(to, &[], dump.stdout.take().unwrap().into());
    assert!(dump.wait().unwrap().success());
}

fn psql(at: &Server, arguments: &[&str], input: Stdio) {
    let mut psql = at.program("psql");
    psql.args(["-q", "-v", "ON_ERROR_STOP=1", &at.url()]).args(arguments).stdin(input);
    assert!(psql.status().unwrap().success());
}
