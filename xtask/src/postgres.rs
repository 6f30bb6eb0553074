//! PostgreSQL servers for the tests: the one that all share, which is the one that
//! `CERTES_TEST_POSTGRES` names or one of the system's packages, and those that a test has for
//! itself because it stops them.

use crate::run::program;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// How the tests find it.
const VARIABLE: &str = "CERTES_TEST_POSTGRES";
/// Where the packages of Debian put their versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long it may take to start, and to stop.
const PATIENCE_SECONDS: &str = "60";
const ADVICE: &str = "set CERTES_TEST_POSTGRES to the URL of a server whose user may create \
                      schemas, or install PostgreSQL: apt-get install postgresql";

/// The server that all tests share. One that was started here ends with this value.
pub struct Postgres {
    url: String,
    _started: Option<Server>,
}

impl Postgres {
    /// How the tests find it.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        (VARIABLE, PathBuf::from(&self.url))
    }
}

/// Gives the server that there is, or starts one.
pub fn provide() -> Result<Postgres> {
    // Tests that stop a server start their own.
    let programs = programs()?;
    #[expect(clippy::disallowed_methods, reason = "the tests' way to name a server")]
    if let Ok(url) = std::env::var(VARIABLE) {
        return Ok(Postgres { url, _started: None });
    }
    let server = Server::with(programs)?;
    server.start(&[])?;
    eprintln!("xtask: PostgreSQL is at {}", server.url());
    Ok(Postgres { url: server.url(), _started: Some(server) })
}

/// A server of its own in a fresh directory, on a free port of loopback, to be stopped and started
/// at will. It goes with this value.
pub struct Server {
    programs: PathBuf,
    owner: Option<u32>,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Makes its database; it is not started yet.
    ///
    /// Errors: where PostgreSQL is not installed.
    pub fn make() -> Result<Self> {
        Self::with(installed().context(ADVICE)?)
    }

    fn with(programs: PathBuf) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("certes-postgres-{}-{number}", std::process::id());
        let (owner, directory) = (owner()?, std::env::temp_dir().join(name));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        if let Some(id) = owner {
            chown(&directory, Some(id), None)?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = Self { programs, owner, directory, port };
        eprintln!("making a PostgreSQL database in {}", server.data().display());
        let mut initdb = server.program("initdb");
        initdb.arg("-D").arg(server.data());
        initdb.args(["-U", "certes", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"]);
        let made = initdb.status().context("start initdb")?;
        if !made.success() {
            bail!("initdb: {made}; {ADVICE}");
        }
        Ok(server)
    }

    /// As a client names it.
    pub fn url(&self) -> String {
        format!("postgres://certes@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it with these settings, as in `ssl=on`; returns when it takes connections.
    pub fn start(&self, settings: &[&str]) -> Result<()> {
        let mut options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
             -c max_connections=300",
            self.port
        );
        settings.iter().for_each(|setting| options.extend([" -c ", setting]));
        let mut start = self.control("start");
        start.arg("-l").arg(self.log()).args(["-o", &options]);
        if !start.status().context("start pg_ctl")?.success() {
            let said = fs::read_to_string(self.log()).unwrap_or_default();
            bail!("PostgreSQL did not start: {said}; {ADVICE}");
        }
        Ok(())
    }

    /// Ends it as a crash does, without a word to anybody; returns when it has ended.
    pub fn crash(&self) -> Result<()> {
        let stopped = self.control("stop").args(["-m", "immediate"]).status();
        match stopped.context("start pg_ctl")?.success() {
            true => Ok(()),
            false => bail!("PostgreSQL did not stop"),
        }
    }

    /// Stops all its processes in the middle of what they do: as on a machine that hangs, every
    /// connection stays, and nobody answers.
    pub fn freeze(&self) -> Result<()> {
        let main = self.main_process()?;
        // First the one that makes others, so that no new one comes.
        signal("-STOP", &[&main])?;
        let others = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        signal("-STOP", &others.split_whitespace().collect::<Vec<_>>())
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        let main = self.main_process()?;
        let others = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        let all: Vec<_> = others.split_whitespace().chain([main.as_str()]).collect();
        signal("-CONT", &all)
    }

    fn main_process(&self) -> Result<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        Ok(file.lines().next().context("postmaster.pid is empty")?.trim().to_owned())
    }

    /// Writes one of the files in its directory, as the server wants them: its own, and closed to
    /// others.
    pub fn write(&self, name: &str, contents: &str) -> Result<()> {
        let path = self.data().join(name);
        fs::write(&path, contents).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(chown(&path, self.owner, None)?)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// One of the programs that come with it, as its owner.
    pub fn program(&self, name: &str) -> Command {
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

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped, or have ended by itself; and none that is frozen can be told.
        drop(self.thaw());
        let mut stop = self.control("stop");
        drop(stop.args(["-m", "immediate"]).stderr(Stdio::null()).status());
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn signal(name: &str, processes: &[&str]) -> Result<()> {
    let sent = Command::new("kill").arg(name).args(processes).status().context("start kill")?;
    match sent.success() {
        true => Ok(()),
        false => bail!("kill {name}: {sent}"),
    }
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
