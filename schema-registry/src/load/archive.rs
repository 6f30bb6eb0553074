//! Reads a tar, packed by gzip or not, into memory: bounded, and never onto the disk.

use super::unreadable;
use crate::{Config, compile::invalid};
use contract::{Error, Result};
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read},
    path::{Component, Path},
};
use tar::{Archive, EntryType};

/// How a file begins that is packed by gzip. Source: RFC 1952, section 2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The `.proto` and `.example.json` files of an archive, by path.
/// Errors: `invalid_definition`, which names the archive and the entry.
pub(super) fn read(path: &Path, config: &Config) -> Result<BTreeMap<String, String>> {
    let opened = File::open(path).map_err(|error| unreadable(path, &error))?;
    let named = |error: Error| invalid(format!("{}: {}", path.display(), error.message));
    unpack(BufReader::new(opened), config).map_err(named)
}

/// The same of an archive that is at hand. Errors: `invalid_definition`, which names the entry.
pub(super) fn unpack(mut packed: impl Read, config: &Config) -> Result<BTreeMap<String, String>> {
    let mut magic = [0; 2];
    packed.read_exact(&mut magic).map_err(|error| damaged(&error))?;
    let whole = magic.as_slice().chain(packed);
    match magic == GZIP_MAGIC {
        true => entries(GzDecoder::new(whole), config),
        false => entries(whole, config),
    }
}

fn entries(unpacked: impl Read, config: &Config) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let (bytes_max, files_max) = (config.set_bytes_max, config.set_files_max);
    let mut left = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    // Headers and padding come on top of what the entries hold.
    let mut archive = Archive::new(unpacked.take(left.saturating_mul(2)));
    for (at, entry) in archive.entries().map_err(|error| damaged(&error))?.enumerate() {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        if at >= files_max {
            return Err(invalid(format!("more than {files_max} entries")));
        }
        let path = inside(&entry.path().map_err(|error| damaged(&error))?)?;
        left = left
            .checked_sub(entry.size())
            .ok_or_else(|| invalid(format!("more than {bytes_max} bytes are in it")))?;
        let hidden = path.split('/').any(|segment| segment.starts_with('.'));
        let wanted = path.ends_with(".proto") || path.ends_with(".example.json");
        let kind = entry.header().entry_type();
        if hidden || !wanted || kind == EntryType::Directory {
            continue;
        }
        if !kind.is_file() {
            return Err(invalid(format!("`{path}` is no plain file; links are not followed")));
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|error| invalid(format!("`{path}`: {error}")))?;
        if files.insert(path.clone(), text).is_some() {
            return Err(invalid(format!("`{path}` is in it twice")));
        }
    }
    Ok(files)
}

/// A path from the top of the archive, which it must not leave.
fn inside(path: &Path) -> Result<String> {
    let mut segments = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(segment) => segments.push(segment.to_string_lossy()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(invalid(format!("`{}` leaves the archive", path.display())));
            }
        }
    }
    Ok(segments.join("/"))
}

fn damaged(error: &std::io::Error) -> Error {
    invalid(format!("it cannot be read as a tar or tar.gz: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use tar::{Builder, Header};

    const PAID: &str =
        "syntax = 'proto3'; import 'shop/money.proto'; message Paid { Money m = 1; }";
    const MONEY: &str = "syntax = 'proto3'; message Money {}";

    /// A tar with these entries; paths go in as they are, however bad.
    fn tar(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind, bytes) in entries {
            let mut header = Header::new_gnu();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            builder.append(&header, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn plain(entries: &[(&'static str, &'static str)]) -> Vec<u8> {
        let entry = |(path, text): &(&'static str, &'static str)| {
            (*path, EntryType::Regular, text.as_bytes())
        };
        tar(&entries.iter().map(entry).collect::<Vec<_>>())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        unpack(bytes, &Config::default()).unwrap_err().message
    }

    #[test]
    fn a_tar_gives_what_its_directory_gives() {
        let bytes = plain(&[
            ("./shop/money.proto", MONEY),
            ("shop/1/paid.proto", PAID),
            ("shop/1/paid.example.json", "{}"),
            ("shop/README.md", "not this"),
            ("shop/.hidden/1/x.proto", "nor this"),
        ]);
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("a.tar", bytes.clone()), ("a.tar.gz", gzip(&bytes))] {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let sources = load(&file, &Config::default()).unwrap();
            assert_eq!(sources.len(), 1, "{name}");
            assert_eq!(sources[0].uri.as_str(), "shop/1/paid");
            let paths: Vec<_> = sources[0].files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths, ["shop/1/paid.proto", "shop/money.proto"]);
            assert_eq!(sources[0].example.as_deref(), Some("{}"));
        }
        let file = dir.path().join("b.tar");
        std::fs::write(&file, plain(&[("shop/1/paid.proto", PAID)])).unwrap();
        let error = load(&file, &Config::default()).unwrap_err().message;
        assert!(error.contains("`shop/money.proto` not found"), "{error}");
        assert!(error.contains("top of the archive"), "{error}");
    }

    #[test]
    fn what_leaves_the_archive_is_refused() {
        for path in ["../x.proto", "shop/../../x.proto", "/etc/x.proto"] {
            let error = refusal(&plain(&[("a/1/x.proto", MONEY), (path, MONEY)]));
            assert!(error.contains("leaves the archive"), "{path}: {error}");
        }
        for kind in [EntryType::Symlink, EntryType::Link, EntryType::Fifo] {
            let error = refusal(&tar(&[("a/1/x.proto", kind, b"")]));
            assert!(error.contains("links are not followed"), "{kind:?}: {error}");
        }
        let error = refusal(&plain(&[("a/1/x.proto", MONEY), ("./a/1/x.proto", MONEY)]));
        assert!(error.contains("twice"), "{error}");
    }

    #[test]
    fn what_grows_or_lies_about_its_size_is_refused() {
        let zeros = vec![0; 1024 * 1024];
        let many: Vec<_> = (0..33).map(|_| ("x.bin", EntryType::Regular, &zeros[..])).collect();
        let bomb = gzip(&tar(&many));
        assert!(bomb.len() < 1024 * 1024);
        assert!(refusal(&bomb).contains("33554432 bytes"), "{}", refusal(&bomb));
        let mut header = Header::new_gnu();
        header.set_path("a/1/x.proto").unwrap();
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        assert!(refusal(header.as_bytes()).contains("bytes"), "it says it is huge");
        let entries = vec![("x", EntryType::Regular, b"".as_slice()); 10_001];
        assert!(refusal(&tar(&entries)).contains("more than 10000 entries"));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bytes in [b"".as_slice(), b"x", b"this is no archive", &[0x1f, 0x8b, 1, 2, 3]] {
            assert!(refusal(bytes).contains("cannot be read as a tar"), "{bytes:?}");
        }
        let tar = plain(&[("a/1/x.proto", MONEY)]);
        assert!(unpack(&tar[..600], &Config::default()).is_err(), "cut off");
        let error = refusal(&tar_with_bytes(&[0xff, 0xfe]));
        assert!(error.contains("`a/1/x.proto`") && error.contains("UTF-8"), "{error}");
    }

    fn tar_with_bytes(bytes: &[u8]) -> Vec<u8> {
        tar(&[("a/1/x.proto", EntryType::Regular, bytes)])
    }
}
