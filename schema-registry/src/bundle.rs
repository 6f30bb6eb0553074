//! A bundle: everything that a version of a contract consists of, under its own hash.
//!
//! # Stored format
//! `CSB1`, then the descriptor set, the number of files, and for each file (sorted by path) its
//! path and its text. A bundle with an example payload begins with `CSB2` instead, and the example
//! follows the files. Numbers are 32 bits little-endian; each text or byte string follows its
//! length. The address is the SHA-256 of all of it. To change the format, give it a new magic,
//! keep reading the old ones, and add a golden file beside `test-data/`.

use bytes::Bytes;
use contract::{
    Error, Result,
    schema::{ProtoFile, SchemaBundle, SchemaVersion},
};
use sha2::{Digest as _, Sha256};

/// SHA-256 of an encoded bundle.
pub(crate) type Digest = [u8; 32];

const MAGIC: &[u8; 4] = b"CSB1";
const MAGIC_WITH_EXAMPLE: &[u8; 4] = b"CSB2";

/// The SHA-256 of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The one encoding of a descriptor set, its sources and an example payload.
pub(crate) fn encode(
    descriptor_set: &[u8],
    files: &[ProtoFile],
    example: Option<&str>,
) -> Result<Bytes> {
    let mut sorted: Vec<&ProtoFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let magic = if example.is_some() { MAGIC_WITH_EXAMPLE } else { MAGIC };
    let mut bytes = magic.to_vec();
    put(&mut bytes, descriptor_set)?;
    bytes.extend(length(sorted.len())?);
    for file in sorted {
        put(&mut bytes, file.path.as_bytes())?;
        put(&mut bytes, file.text.as_bytes())?;
    }
    if let Some(example) = example {
        put(&mut bytes, example.as_bytes())?;
    }
    Ok(bytes.into())
}

/// The bytes of a bundle as a store keeps them, under the digest of its version. Errors: `internal`
/// when they are not what the version says.
pub fn encoded(bundle: &SchemaBundle) -> Result<Bytes> {
    verify(bundle)?;
    encode(&bundle.descriptor_set, &bundle.files, bundle.example.as_deref())
}

/// The bundle of `version`, whose address was checked when it was read.
pub(crate) fn decode(version: SchemaVersion, bytes: &Bytes) -> Result<SchemaBundle> {
    let damaged = || {
        let address = hex::encode(version.digest);
        Error::internal(format!("the bundle {address} of {} cannot be read", version.uri))
    };
    let (descriptor_set, files, example) = Reader(bytes.clone()).bundle().ok_or_else(damaged)?;
    Ok(SchemaBundle { version, descriptor_set, files, example })
}

/// Is the bundle what its version says? It may have come over the wire.
pub(crate) fn verify(bundle: &SchemaBundle) -> Result<()> {
    let example = bundle.example.as_deref();
    let found = digest(&encode(&bundle.descriptor_set, &bundle.files, example)?);
    if found == bundle.version.digest {
        return Ok(());
    }
    Err(Error::internal(format!(
        "the bundle of {} has the digest {}, not {}",
        bundle.version.uri,
        hex::encode(found),
        hex::encode(bundle.version.digest)
    )))
}

fn length(length: usize) -> Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(|_size| Error::internal("a bundle over 4 GiB"))?;
    Ok(length.to_le_bytes())
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) -> Result<()> {
    bytes.extend(length(part.len())?);
    bytes.extend_from_slice(part);
    Ok(())
}

/// Reads front to back; None as soon as something does not fit.
struct Reader(Bytes);

impl Reader {
    fn bundle(mut self) -> Option<(Bytes, Vec<ProtoFile>, Option<String>)> {
        let with_example = match self.take(MAGIC.len())?.as_ref() {
            magic if magic == MAGIC => false,
            magic if magic == MAGIC_WITH_EXAMPLE => true,
            _ => return None,
        };
        let descriptor_set = self.part()?;
        let mut files = Vec::new();
        for _ in 0..self.number()? {
            files.push(ProtoFile { path: self.text()?, text: self.text()? });
        }
        let example = if with_example { Some(self.text()?) } else { None };
        self.0.is_empty().then_some((descriptor_set, files, example))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        usize::try_from(u32::from_le_bytes(bytes.as_ref().try_into().ok()?)).ok()
    }

    fn part(&mut self) -> Option<Bytes> {
        let length = self.number()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.part()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::version;
    use proptest::prelude::*;

    const GOLDEN: &[u8] = include_bytes!("../test-data/bundle-1.bin");
    const GOLDEN_WITH_EXAMPLE: &[u8] = include_bytes!("../test-data/bundle-2.bin");

    fn file(path: &str, text: &str) -> ProtoFile {
        ProtoFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn the_stored_format_stays_as_it_is() {
        let files = [file("b.proto", "two"), file("a/1/x.proto", "one")];
        assert_eq!(encode(b"descriptors", &files, None).unwrap().as_ref(), GOLDEN);
        let with_example = encode(b"descriptors", &files, Some("{}")).unwrap();
        assert_eq!(with_example.as_ref(), GOLDEN_WITH_EXAMPLE);
        let read = decode(version("a/1/x", 0), &with_example).unwrap();
        assert_eq!((read.files.len(), read.example.as_deref()), (2, Some("{}")));
        let read = decode(version("a/1/x", 0), &Bytes::from_static(GOLDEN)).unwrap();
        assert_eq!(read.descriptor_set.as_ref(), b"descriptors");
        assert_eq!(read.files, [file("a/1/x.proto", "one"), file("b.proto", "two")]);
    }

    #[test]
    fn what_was_changed_on_the_way_is_noticed() {
        let files = vec![file("a.proto", "text")];
        let mut version = version("a/1/x", 0);
        version.digest = digest(&encode(b"set", &files, None).unwrap());
        let mut bundle = SchemaBundle {
            version,
            descriptor_set: Bytes::from_static(b"set"),
            files,
            example: None,
        };
        assert_eq!(verify(&bundle), Ok(()));
        bundle.files[0].text.push(' ');
        assert!(verify(&bundle).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(
            set: Vec<u8>,
            texts in proptest::collection::btree_map("[a-z/]{1,9}", ".{0,20}", 0..5),
            example: Option<String>,
        ) {
            let files: Vec<_> = texts.iter().map(|(path, text)| file(path, text)).collect();
            let bytes = encode(&set, &files, example.as_deref()).unwrap();
            let read = decode(version("a/1/x", 0), &bytes).unwrap();
            prop_assert_eq!(read.descriptor_set.as_ref(), set);
            prop_assert_eq!(read.files, files);
            prop_assert_eq!(read.example, example);
            let cut = bytes.slice(..bytes.len() - 1);
            prop_assert!(decode(version("a/1/x", 0), &cut).is_err());
        }

        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>) {
            let bytes = [MAGIC.as_slice(), &bytes].concat();
            drop(decode(version("a/1/x", 0), &bytes.into()));
        }
    }
}
