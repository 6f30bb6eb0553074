//! Other people's libraries that judge our formats, installed below `target/judges`.

use crate::run::{program, root};
use anyhow::{Result, bail};
use std::{ffi::OsStr, path::PathBuf, process::Command};

/// From PyPI: a Standard Webhooks verifier, the protobuf compiler with its JSON mapping, and
/// protovalidate.
const PYTHON_PACKAGES: [&str; 3] =
    ["standardwebhooks==1.1.0", "grpcio-tools==1.85.1", "protovalidate==2.1.0"];
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

impl Judges {
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
