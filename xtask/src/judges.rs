//! Other people's libraries that judge our formats, installed below `target/judges`.

use anyhow::{Context, Result, bail};
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};
use xtask::run::{program, root};

/// From PyPI: a Standard Webhooks verifier, another library for Ed25519, the SDK of CloudEvents, the protobuf compiler with its JSON mapping,
/// protovalidate, a server that speaks S3, and a client of GraphQL.
const PYTHON_PACKAGES: [&str; 7] = [
    "standardwebhooks==1.1.0",
    "cryptography==50.0.2",
    "cloudevents==2.2.0",
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
/// Starts the server on a free port, makes the bucket that the tests write into, says where it is,
/// and goes on until its standard input ends.
const S3_SCRIPT: &str = r#"
import sys, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://%s:%s" % server.get_host_and_port()
s3 = boto3.client("s3", endpoint_url=url, region_name="eu-central-1",
                  aws_access_key_id="test", aws_secret_access_key="test")
s3.create_bucket(Bucket="contracts",
                 CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
print(url, flush=True)
sys.stdin.read()
"#;

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
        eprintln!("xtask: starting an S3 server");
        let mut child = Command::new(&self.python)
            .args(["-c", S3_SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start the S3 server")?;
        let answers = child.stdout.take().context("the output of the S3 server")?;
        let mut server = S3 { child, url: String::new() };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(answers).read_line(&mut line).map(|_bytes| line);
            // Whoever waits may have given up.
            drop(tell.send(read));
        });
        let line = told.recv_timeout(S3_PATIENCE).context("the S3 server does not start")??;
        server.url = line.trim().to_owned();
        if server.url.is_empty() {
            bail!("the S3 server ended before it was ready");
        }
        eprintln!("xtask: the S3 server is at {}", server.url);
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
