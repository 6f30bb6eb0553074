//! Descriptor sets of bundles, which may come from another deployment or an earlier release: read so
//! that imports cost no more than their number, and a circle of them is refused.

use crate::compile::reached;
use prost_reflect::{
    DescriptorPool,
    prost::{
        DecodeError,
        bytes::Buf as _,
        encoding::{
            DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
            skip_field, string,
        },
    },
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Numbers of fields (descriptor.proto): a file of a set; of a file its name, its imports, and which
/// of them are public.
const FILE: u32 = 1;
const NAME: u32 = 1;
const DEPENDENCY: u32 = 3;
const PUBLIC_DEPENDENCY: u32 = 10;

/// Types of an encoded `FileDescriptorSet`. Public imports are written out: see `compile/public.rs`.
/// A sentence on what is wrong with it, if anything is.
pub(crate) fn pool_of(set: &[u8]) -> Result<DescriptorPool, String> {
    let malformed = |error: DecodeError| error.to_string();
    let files = read(set).map_err(malformed)?;
    refuse_circles(&files)?;
    let pool = if files.iter().all(|file| file.public.is_empty()) {
        DescriptorPool::decode(set)
    } else {
        DescriptorPool::decode(written_out(&files).map_err(malformed)?.as_slice())
    };
    pool.map_err(|error| error.to_string())
}

/// A file of a set, as far as imports go.
struct Importing<'a> {
    name: String,
    imports: Vec<String>,
    public: Vec<String>,
    bytes: &'a [u8],
}

fn read(mut set: &[u8]) -> Result<Vec<Importing<'_>>, DecodeError> {
    let mut files = Vec::new();
    while set.has_remaining() {
        let field = Field::next(&mut set)?;
        if field.number == FILE {
            files.push(importing(field.value)?);
        }
    }
    Ok(files)
}

fn importing(bytes: &[u8]) -> Result<Importing<'_>, DecodeError> {
    let mut file =
        Importing { name: String::new(), imports: Vec::new(), public: Vec::new(), bytes };
    let (mut rest, mut public) = (bytes, Vec::new());
    while rest.has_remaining() {
        let field = Field::next(&mut rest)?;
        let text = || String::from_utf8_lossy(field.value).into_owned();
        match field.number {
            NAME => file.name = text(),
            DEPENDENCY => file.imports.push(text()),
            PUBLIC_DEPENDENCY => {
                // One, or, packed, many: both are varints one behind the other.
                let mut numbers = field.value;
                while numbers.has_remaining() {
                    public.push(decode_varint(&mut numbers)?);
                }
            }
            _ => {}
        }
    }
    let at = |index: u64| file.imports.get(usize::try_from(index).ok()?).cloned();
    file.public = public.into_iter().filter_map(at).collect();
    Ok(file)
}

/// A field of a message.
struct Field<'a> {
    number: u32,
    /// With its key.
    whole: &'a [u8],
    value: &'a [u8],
}

impl<'a> Field<'a> {
    fn next(rest: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let start = *rest;
        let (number, wire) = decode_key(rest)?;
        let mut value = *rest;
        skip_field(wire, number, rest, DecodeContext::default())?;
        if wire == WireType::LengthDelimited {
            decode_varint(&mut value)?;
        }
        let value = &value[..value.len() - rest.len()];
        Ok(Self { number, whole: &start[..start.len() - rest.len()], value })
    }
}

/// Each file comes behind all that it imports, as compilers write them (descriptor.proto).
fn refuse_circles(files: &[Importing<'_>]) -> Result<(), String> {
    let mut before = HashSet::new();
    for file in files {
        if let Some(path) = file.imports.iter().find(|path| !before.contains(path.as_str())) {
            return Err(format!("`{}` imports `{path}`, which is not before it", file.name));
        }
        before.insert(file.name.as_str());
    }
    Ok(())
}

/// The set with files that import all they need themselves, and none publicly.
fn written_out(files: &[Importing<'_>]) -> Result<Vec<u8>, DecodeError> {
    let public: HashMap<&str, Arc<[String]>> =
        files.iter().map(|file| (file.name.as_str(), file.public.clone().into())).collect();
    let public_of = |path: &str| public.get(path).cloned().unwrap_or_default();
    let mut set = Vec::new();
    for file in files {
        let (mut written, mut rest) = (Vec::with_capacity(file.bytes.len()), file.bytes);
        while rest.has_remaining() {
            let field = Field::next(&mut rest)?;
            if field.number != PUBLIC_DEPENDENCY {
                written.extend_from_slice(field.whole);
            }
        }
        for path in reached(&file.name, &file.imports, public_of) {
            string::encode(DEPENDENCY, &path, &mut written);
        }
        encode_key(FILE, WireType::LengthDelimited, &mut set);
        encode_varint(written.len() as u64, &mut set);
        set.extend(written);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::prost::Message as _;
    use prost_types::{FileDescriptorProto, FileDescriptorSet};
    use std::time::{Duration, Instant};

    fn file(name: &str, imports: &[&str], public: &[i32]) -> FileDescriptorProto {
        FileDescriptorProto {
            name: Some(name.to_owned()),
            dependency: imports.iter().map(|path| (*path).to_owned()).collect(),
            public_dependency: public.to_vec(),
            syntax: Some("proto3".to_owned()),
            ..FileDescriptorProto::default()
        }
    }

    fn pool(file: Vec<FileDescriptorProto>) -> Result<DescriptorPool, String> {
        pool_of(&FileDescriptorSet { file }.encode_to_vec())
    }

    #[test]
    fn circles_of_a_strange_bundle_are_refused() {
        let itself = pool(vec![file("a.proto", &["a.proto"], &[0])]).unwrap_err();
        assert!(itself.contains("`a.proto` imports `a.proto`"), "{itself}");
        let each_other =
            vec![file("a.proto", &["b.proto"], &[0]), file("b.proto", &["a.proto"], &[0])];
        assert!(pool(each_other).is_err());
        assert!(pool_of(b"\x0a\xff").is_err());
    }

    #[test]
    fn a_dense_graph_of_public_imports_is_read_at_once() {
        let names: Vec<_> = (0..60).map(|n| format!("f{n}.proto")).collect();
        let files = (0..names.len()).map(|n| {
            let imports: Vec<_> = names[..n].iter().map(String::as_str).collect();
            let public: Vec<_> = (0..n).map(|at| i32::try_from(at).unwrap()).collect();
            file(&names[n], &imports, &public)
        });
        let started = Instant::now();
        assert_eq!(pool(files.collect()).unwrap().files().len(), 60);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
