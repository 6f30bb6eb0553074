//! All indices and read models anew from the facts, in a store that then takes the old one's place.

use super::{
    LogError, Progress,
    build::{Builder, Built, require_whole, vouched},
    head_file::{self, HeadMark},
    store_in,
    twin::{Twin, bytes_in, space_left},
};
use crate::{state::Losses, store::StateStore};
use contract::id::Sequence;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// What was rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Facts of both chains.
    pub facts: u64,
    /// Where the log ends.
    pub head: Sequence,
}

/// Rebuilds what follows from the facts of the log in a data directory, in a new store beside it
/// that takes its place at the end, in one step: whatever happens before, the old one is there. The
/// server must not run.
///
/// Errors: `NotWhole`, `Fact` or `Shortened` when the facts themselves are damaged, which only
/// `repair` can go past.
pub fn rebuild(data_dir: &Path, progress: Progress<'_>) -> Result<Rebuilt, LogError> {
    let twin = Twin::of(data_dir)?;
    let place = Place::beside(data_dir)?;
    let mut builder = Builder::create(&place.store())?;
    builder.copy(twin.store()?, &twin.store()?.tables(), progress)?;
    let mut built = builder.finish(Losses::default(), progress)?;
    require_whole(&mut built)?;
    let Built { store, report, head, .. } = built;
    vouched(data_dir, &store)?;
    drop(store);
    place.take_over(data_dir)?;
    head_file::write(data_dir, &HeadMark::from(&head))?;
    Ok(Rebuilt { facts: report.facts, head: head.sequence })
}

/// Where a new store is made beside the old one. Removed in the end, with what is in it.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// An empty place, if there is space for a second store.
    pub(super) fn beside(data_dir: &Path) -> Result<Self, LogError> {
        let place = Self(data_dir.join("rebuild.tmp"));
        place.clear().map_err(|source| place.failed(source))?;
        let needed = bytes_in(&store_in(data_dir)).map_err(|source| place.failed(source))?;
        let left = space_left(data_dir)?;
        if needed > left {
            let path = place.0.display().to_string();
            return Err(LogError::Space { path, needed, left });
        }
        fs::create_dir(&place.0).map_err(|source| place.failed(source))?;
        Ok(place)
    }

    /// The new store.
    pub(super) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Puts the new store in the place of the old one, which goes away with this.
    pub(super) fn take_over(&self, data_dir: &Path) -> Result<(), LogError> {
        let (new, old) = (self.store(), store_in(data_dir));
        let exchanged = renameat_with(CWD, &new, CWD, &old, RenameFlags::EXCHANGE);
        let swapped = exchanged.map_err(std::io::Error::from).or_else(|error| {
            // Not every file system can exchange two names. Between these two the store is
            // missing, and a start says so.
            tracing::debug!(%error, "the stores are exchanged by two renames");
            fs::rename(&old, self.0.join("old")).and_then(|()| fs::rename(&new, &old))
        });
        let synced = swapped.and_then(|()| head_file::sync_parent(&old));
        synced.map_err(|source| self.failed(source))
    }

    /// The same, but the old store is kept beside the new one; gives where.
    pub(super) fn take_over_and_keep(&self, data_dir: &Path) -> Result<PathBuf, LogError> {
        self.take_over(data_dir)?;
        let name = |n: u32| data_dir.join(format!("store.damaged-{n}"));
        let kept = (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
        let old = [self.store(), self.0.join("old")].into_iter().find(|path| path.exists());
        let old = old.unwrap_or_else(|| self.store());
        fs::rename(old, &kept).map_err(|source| self.failed(source))?;
        Ok(kept)
    }

    fn failed(&self, source: std::io::Error) -> LogError {
        LogError::File { path: self.0.display().to_string(), source }
    }

    fn clear(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove a temporary store");
        }
    }
}
