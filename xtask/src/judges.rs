//! Other people's libraries that judge our formats, installed below `target/judges`.

use crate::run::{program, root};
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// From PyPI: a Standard Webhooks verifier, the protobuf compiler with its JSON mapping,
/// protovalidate, a server that speaks S3, and a client of GraphQL.
const PYTHON_PACKAGES: [&str; 5] = [
    "standardwebhooks==1.1.0",
    "grpcio-tools==1.85.1",
    "protovalidate==2.1.0",
    "moto[server]==5.2.5",
    "gql[aiohttp,websockets]==4.4.0",
];
/// From npm: GitHub's own example payloads, and a Standard Webhooks verifier.
const NODE_PACKAGES: [&str; 2] = ["@octokit/webhooks-examples@7.6.1", "standardwebhooks@1.1.1"];

/// Where the judges are.
pub struct Judges {
    python: PathBuf,
    node_modules: PathBuf,
}

/// Installs what is missing; fails, saying what to do, where it cannot.
pub fn install() -> Result<Judges> {
    if Command::new("strace").arg("-V").output().is_err() {
        bail!("strace is needed to see that a sync precedes each answer: apt-get install strace");
    }
    let dir = root().join("target/judges");
    std::fs::create_dir_all(&dir)?;
    let python = dir.join("python/bin/python");
    if !python.exists() {
        eprintln!("xtask: installing from PyPI: {}", PYTHON_PACKAGES.join(" "));
        program("python3", &["-m".as_ref(), "venv".as_ref(), dir.join("python").as_ref()])?;
    }
    let mut arguments: Vec<&OsStr> =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"].map(OsStr::new).to_vec();
    arguments.extend(PYTHON_PACKAGES.map(OsStr::new));
    program(&python, &arguments)?;
    let node_modules = dir.join("node_modules");
    if !node_modules.join("@octokit/webhooks-examples").exists() {
        eprintln!("xtask: installing from npm: {}", NODE_PACKAGES.join(" "));
        let mut arguments: Vec<&OsStr> =
            vec!["install".as_ref(), "--prefix".as_ref(), dir.as_ref()];
        arguments.extend(["--no-audit", "--no-fund", "--ignore-scripts"].map(OsStr::new));
        arguments.extend(NODE_PACKAGES.map(OsStr::new));
        program("npm", &arguments)?;
    }
    Ok(Judges { python, node_modules })
}

/// How long the server that speaks S3 may take to start.
const S3_PATIENCE: Duration = Duration::from_secs(60);
/// The bucket that the tests write into.
const S3_BUCKET: &str = "contracts";

/// A server that speaks S3, on a free port of loopback. It ends with this value.
pub struct S3 {
    child: Child,
    url: String,
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl S3 {
    /// How the tests find it.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        ("CERTES_TEST_S3", PathBuf::from(&self.url))
    }
}

impl Judges {
    /// Starts a server that speaks S3, with an empty bucket.
    pub fn start_s3(&self) -> Result<S3> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        eprintln!("xtask: starting an S3 server at {url}");
        let child = Command::new(&self.python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the S3 server")?;
        let server = S3 { child, url };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if started.elapsed() > S3_PATIENCE {
                bail!("the S3 server did not start within {S3_PATIENCE:?}");
            }
            #[expect(clippy::disallowed_methods, reason = "a program of others gives no signal")]
            std::thread::sleep(Duration::from_millis(50));
        }
        let script = format!(
            "import boto3; boto3.client('s3', endpoint_url='{}', region_name='eu-central-1', \
             aws_access_key_id='test', aws_secret_access_key='test').create_bucket(\
             Bucket='{S3_BUCKET}', CreateBucketConfiguration={{'LocationConstraint': \
             'eu-central-1'}})",
            server.url
        );
        program(&self.python, &["-c".as_ref(), script.as_ref()])?;
        Ok(server)
    }

    /// How the tests find them.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("CERTES_TEST_PYTHON", self.python.clone()),
            ("CERTES_TEST_NODE_MODULES", self.node_modules.clone()),
        ]
    }

    /// Every schema that ships compiles with Google's compiler, and GitHub's real payloads keep
    /// to them.
    pub fn check_schemas(&self) -> Result<()> {
        let examples = self.node_modules.join("@octokit/webhooks-examples");
        program(&self.python, &["schemas/check.py".as_ref(), examples.as_ref()])
    }
}
