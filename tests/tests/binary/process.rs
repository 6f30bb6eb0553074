//! Running the binary.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};
use tests::{SIGNING_SECRET, Wiring};

/// The binary, built if it is not.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let arguments = ["build", "--quiet", "--package", "certes", "--bin", "certes"];
        let messages = ["--message-format", "json-render-diagnostics"];
        let built = Command::new(env!("CARGO"))
            .args(arguments)
            .args(messages)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "certes does not build");
        let text = String::from_utf8(built.stdout).unwrap();
        let program = text.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(message["executable"].as_str()?))
        });
        program.unwrap()
    })
}

/// A server in a process of its own. Killed when it is dropped.
pub struct Process {
    child: Child,
    /// Base URL of its public HTTP.
    pub http: String,
    /// Base URL of its operators' listener.
    pub admin: String,
    /// Where it listens, by the names that it prints.
    doors: BTreeMap<String, String>,
}

/// A deployment of the real binary, in either wiring. Killed when it is dropped.
pub struct Processes {
    parts: Vec<Process>,
    /// Base URL of its public HTTP.
    pub http: String,
}

/// The parts in the order in which they need each other: role, the door that others are told of,
/// and the setting that tells them.
const PARTS: [(&str, &str, &str); 6] = [
    ("master-api", "master-api grpc", "CERTES_PEERS__MASTER_API"),
    ("queue", "queue", "CERTES_PEERS__QUEUE"),
    ("schema-registry", "schema-registry", "CERTES_PEERS__SCHEMA_REGISTRY"),
    ("broker", "broker", "CERTES_PEERS__BROKER"),
    ("consumer", "", ""),
    ("gateway", "", ""),
];

impl Processes {
    /// Starts one process, or one a part, with the data below `dir`.
    pub fn serve(wiring: Wiring, dir: &Path) -> Self {
        let parts = match wiring {
            Wiring::OneProcess => vec![Process::serve(dir)],
            Wiring::Split => Self::split(dir),
        };
        let http = parts.last().expect("a gateway").http.clone();
        Self { parts, http }
    }

    fn split(dir: &Path) -> Vec<Process> {
        let inner = ["MASTER_API__GRPC", "MASTER_API__HTTP", "QUEUE__GRPC"];
        let inner = inner.into_iter().chain(["SCHEMA_REGISTRY__GRPC", "BROKER__GRPC"]);
        let any = |key| (format!("CERTES_{key}"), "127.0.0.1:0".to_owned());
        let mut settings: Vec<_> = inner.map(any).collect();
        let mut parts = Vec::new();
        for (role, door, told) in PARTS {
            let part = Process::part(Command::new(binary()), dir, role, &settings);
            if let Some(address) = part.doors.get(door) {
                settings.push((told.to_owned(), format!("http://{address}")));
            }
            parts.push(part);
        }
        parts
    }

    /// `kill -9` of every process.
    pub fn kill(self) {
        self.parts.into_iter().for_each(Process::kill);
    }

    /// SIGTERM, the gateway first; true if all then ended by themselves and well.
    pub fn terminate(self) -> bool {
        self.parts.into_iter().rev().all(Process::terminate)
    }
}

impl Process {
    /// Starts `certes serve` on chosen ports with its data below `dir`; returns when it is ready.
    pub fn serve(dir: &Path) -> Self {
        Self::start(Command::new(binary()), dir)
    }

    /// Starts `certes serve` with `launcher` (the binary itself, or something that runs it).
    pub fn start(launcher: Command, dir: &Path) -> Self {
        Self::part(launcher, dir, "all", &[])
    }

    /// Starts `certes serve` with these roles and settings.
    fn part(mut launcher: Command, dir: &Path, roles: &str, settings: &[(String, String)]) -> Self {
        let any = "127.0.0.1:0";
        let mut child = launcher
            .args(["serve", "--http", any, "--grpc", any, "--admin", any, "--roles", roles])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env("CERTES_CONSUMER__ALLOWED_NETWORKS", "127.0.0.0/8")
            .env("CERTES_LOG__FILTER", "warn")
            .envs(settings.iter().cloned())
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut doors = BTreeMap::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            let line = line.unwrap();
            match line.rsplit_once(' ') {
                Some((door, address)) => _ = doors.insert(door.to_owned(), address.to_owned()),
                None if line == "ready" => break,
                None => {}
            }
        }
        let url = |door: &str| doors.get(door).map(|address| format!("http://{address}"));
        let (http, admin) = (url("http").unwrap_or_default(), url("admin").expect("it got ready"));
        Self { child, http, admin, doors }
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by what somebody else did.
    #[cfg(feature = "all")]
    pub fn ended(mut self) {
        self.child.wait().unwrap();
    }

    /// SIGTERM; true if it then ended by itself and well.
    pub fn terminate(mut self) -> bool {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Runs a command of the command line in `dir`, which finds the server that runs there.
pub fn certes(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env("GITHUB_SECRET", tests::GITHUB_SECRET)
        .env("SIGNING_SECRET", SIGNING_SECRET)
        .env("CERTES_SOURCE_SECRET", tests::GITHUB_SECRET)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// What a command prints, if it ends well.
pub fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Writes a manifest with GitHub and one subscription, and applies it.
pub fn apply(dir: &Path, url: &str) -> String {
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/github");
    let text = format!(
        r#"
sources:
  - {{name: github, verify: github, secret: {{env: GITHUB_SECRET}},
     event_type: "github/1/{{header:x-github-event}}"}}
schemas: [{{dir: "{schemas}"}}]
subscriptions:
  - {{name: ci, url: "{url}", events: ["github/1/*"], secret: {{env: SIGNING_SECRET}},
     backoff: {{kind: constant, base: 200ms, jitter: none, max_retries: 1000}}}}
"#
    );
    std::fs::write(dir.join("certes.yaml"), text).unwrap();
    printed(&certes(dir, &["apply", "-f", "certes.yaml"]))
}
