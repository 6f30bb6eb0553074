//! The documents of the API as a release has them, in `tests/baseline`.

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// Puts the present documents in the place of those of the release before.
pub fn take(root: &Path) -> Result<()> {
    let baseline = root.join("tests/baseline");
    fs::remove_dir_all(baseline.join("proto")).context("tests/baseline/proto")?;
    copy_protos(&root.join("proto/proto"), &baseline.join("proto"))?;
    fs::copy(root.join("master-api/schema.graphql"), baseline.join("schema.graphql"))
        .context("master-api/schema.graphql")?;
    Ok(())
}

/// What the parts say to each other is nobody else's.
fn copy_protos(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_dir() && name != "internal" {
            copy_protos(&path, &to.join(name))?;
        } else if path.extension().is_some_and(|end| end == "proto") {
            fs::copy(&path, to.join(name)).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
