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
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How the tests find it.
const VARIABLE: &str = "CERTES_TEST_POSTGRES";
/// Where the packages of Debian put their versions.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long it may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);
const ADVICE: &str = "set CERTES_TEST_POSTGRES to the URL of a server whose user may create \
                      schemas, or install PostgreSQL: apt-get install postgresql";

/// A server for the tests. One that was started here ends with this value.
pub struct Postgres {
    url: String,
    _started: Option<Started>,
}

struct Started {
    child: Child,
    directory: PathBuf,
}

impl Drop for Started {
    fn drop(&mut self) {
        // SIGINT: it ends its connections and stops. One that does not is killed.
        let id = self.child.id().to_string();
        drop(Command::new("kill").args(["-INT", &id]).status());
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > PATIENCE {
                drop(self.child.kill());
            }
            pause();
        }
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
    let as_owner = |name: &str| {
        let mut command = Command::new(programs.join(name));
        command.current_dir(&directory);
        if let Some(id) = owner {
            command.uid(id);
        }
        command
    };
    let data = directory.join("data");
    eprintln!("xtask: making a PostgreSQL database in {}", data.display());
    let mut initdb = as_owner("initdb");
    initdb.arg("-D").arg(&data).args(["-U", "certes", "-A", "trust", "--no-locale", "-E", "UTF8"]);
    let made = initdb.stdout(Stdio::null()).status().context("start initdb")?;
    if !made.success() {
        bail!("initdb: {made}; {ADVICE}");
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let child = as_owner("postgres")
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories=", "-c", "max_connections=300"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("server.log"))?)
        .spawn()
        .context("start postgres")?;
    let mut started = Started { child, directory };
    await_answer(&programs, port, &mut started)?;
    let url = format!("postgres://certes@127.0.0.1:{port}/postgres");
    eprintln!("xtask: PostgreSQL is at {url}");
    Ok(Postgres { url, _started: Some(started) })
}

/// Waits until it takes connections.
fn await_answer(programs: &Path, port: u16, started: &mut Started) -> Result<()> {
    let begun = Instant::now();
    let port = port.to_string();
    loop {
        let mut asked = Command::new(programs.join("pg_isready"));
        asked.args(["-q", "-h", "127.0.0.1", "-p", &port]);
        if asked.status().context("start pg_isready")?.success() {
            return Ok(());
        }
        let log = started.directory.join("server.log");
        if let Some(ended) = started.child.try_wait()? {
            bail!("PostgreSQL ended ({ended}): {}", fs::read_to_string(log)?);
        }
        if begun.elapsed() > PATIENCE {
            bail!("PostgreSQL did not start within {PATIENCE:?}: {}", fs::read_to_string(log)?);
        }
        pause();
    }
}

/// Where `initdb` and `postgres` are, after an installation if need be.
fn programs() -> Result<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    eprintln!("xtask: installing PostgreSQL");
    let arguments = ["install", "--yes", "--no-install-recommends", "postgresql"].map(OsStr::new);
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

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "a program of others gives no signal")]
    std::thread::sleep(Duration::from_millis(50));
}
