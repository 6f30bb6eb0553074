//! Running the binary.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};
use tests::SIGNING_SECRET;

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
}

impl Process {
    /// Starts `certes serve` on chosen ports with its data below `dir`; returns when it is ready.
    pub fn serve(dir: &Path) -> Self {
        Self::start(Command::new(binary()), dir)
    }

    /// Starts `certes serve` with `launcher` (the binary itself, or something that runs it).
    pub fn start(mut launcher: Command, dir: &Path) -> Self {
        let any = "127.0.0.1:0";
        let mut child = launcher
            .args(["serve", "--http", any, "--grpc", any, "--admin", any])
            .arg("--data-dir")
            .arg(dir.join("data"))
            .env("CERTES_CONSUMER__ALLOWED_NETWORKS", "127.0.0.0/8")
            .env("CERTES_LOG__FILTER", "warn")
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut http, mut admin) = (None, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("http", address)) => http = Some(format!("http://{address}")),
                Some(("admin", address)) => admin = Some(format!("http://{address}")),
                None if line == "ready" => break,
                _ => {}
            }
        }
        Self { child, http: http.expect("it got ready"), admin: admin.expect("it got ready") }
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
