//! A PostgreSQL server for the tests: the one that `CERTES_TEST_POSTGRES` names, else one of the
//! system's packages in a fresh directory, on a free port of loopback.

use crate::run::program;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How the tests find it.
const VARIABLE: &str = "CERTES_TEST_POSTGRES";
/// Where the packages of Debian put their versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long it may take to start, and to stop.
const PATIENCE_SECONDS: &str = "60";
const ADVICE: &str = "set CERTES_TEST_POSTGRES to the URL of a server whose user may create \
                      schemas, or install PostgreSQL: apt-get install postgresql";

/// A server for the tests. One that was started here ends with this value.
pub struct Postgres {
    url: String,
    _started: Option<Started>,
}

struct Started {
    programs: PathBuf,
    owner: Option<u32>,
    directory: PathBuf,
}

impl Started {
    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// One of its programs, as its owner.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(&self.directory).stdout(Stdio::null());
        if let Some(id) = self.owner {
            command.uid(id);
        }
        command
    }

    /// `pg_ctl`, which waits until it is done.
    fn control(&self, what: &str) -> Command {
        let mut command = self.program("pg_ctl");
        command.args([what, "-w", "-t", PATIENCE_SECONDS, "-D"]).arg(self.data());
        command
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.control("stop").args(["-m", "fast"]).status());
        drop(fs::remove_dir_all(&self.directory));
    }
}

impl Postgres {
    /// How the tests find it.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        (VARIABLE, PathBuf::from(&self.url))
    }
}

/// Gives the server that there is, or starts one.
pub fn provide() -> Result<Postgres> {
    #[expect(clippy::disallowed_methods, reason = "the tests' way to name a server")]
    if let Ok(url) = std::env::var(VARIABLE) {
        return Ok(Postgres { url, _started: None });
    }
    let programs = programs()?;
    let owner = owner()?;
    let directory = std::env::temp_dir().join(format!("certes-postgres-{}", std::process::id()));
    fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
    if let Some(id) = owner {
        chown(&directory, Some(id), None)?;
    }
    let started = Started { programs, owner, directory };
    eprintln!("xtask: making a PostgreSQL database in {}", started.data().display());
    let mut initdb = started.program("initdb");
    initdb.arg("-D").arg(started.data());
    initdb.args(["-U", "certes", "-A", "trust", "--no-locale", "-E", "UTF8"]);
    let made = initdb.status().context("start initdb")?;
    if !made.success() {
        bail!("initdb: {made}; {ADVICE}");
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300"
    );
    let mut start = started.control("start");
    start.arg("-l").arg(started.log()).args(["-o", &options]);
    if !start.status().context("start pg_ctl")?.success() {
        let said = fs::read_to_string(started.log()).unwrap_or_default();
        bail!("PostgreSQL did not start: {said}; {ADVICE}");
    }
    let url = format!("postgres://certes@127.0.0.1:{port}/postgres");
    eprintln!("xtask: PostgreSQL is at {url}");
    Ok(Postgres { url, _started: Some(started) })
}

/// Where `initdb` and `postgres` are, after an installation if need be.
fn programs() -> Result<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    eprintln!("xtask: installing PostgreSQL");
    let arguments = ["install", "--yes", "--no-install-recommends", "postgresql"].map(OsStr::new);
    program("apt-get", &[OsStr::new("update")]).with_context(|| ADVICE)?;
    program("apt-get", &arguments).with_context(|| ADVICE)?;
    installed().with_context(|| format!("there is no PostgreSQL after its installation; {ADVICE}"))
}

/// The newest version of Debian's packages.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?;
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = versions.filter_map(|version| version.parse::<u32>().ok()).max()?;
    let programs = Path::new(VERSIONS).join(newest.to_string()).join("bin");
    programs.join("initdb").is_file().then_some(programs)
}

/// PostgreSQL does not run as root: then as the user of its package. None: as who we are.
fn owner() -> Result<Option<u32>> {
    let id = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output().context("start id")?;
        let text = String::from_utf8(output.stdout)?;
        text.trim().parse().with_context(|| format!("id {}", arguments.join(" ")))
    };
    Ok(if id(&["-u"])? == 0 { Some(id(&["-u", "postgres"])?) } else { None })
}
