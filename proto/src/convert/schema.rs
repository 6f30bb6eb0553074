//! Schemas, and how payloads break them.

use super::{Malformed, each, into_each, message, moment, moment_from, one_of_or, parsed, text};
use crate::v1;
use contract::schema::{
    ProtoFile, Published, SchemaBundle, SchemaSource, SchemaVersion, UnknownFields, Violation,
};

same_variants!(UnknownFields, v1::UnknownFields, [Ignore, Reject]);

impl From<Violation> for v1::Violation {
    fn from(violation: Violation) -> Self {
        let Violation { path, expected, found, rule } = violation;
        Self { path, expected, found, rule }
    }
}

impl From<v1::Violation> for Violation {
    fn from(wire: v1::Violation) -> Self {
        let v1::Violation { path, expected, found, rule } = wire;
        Self { path, expected, found, rule }
    }
}

impl From<SchemaVersion> for v1::SchemaVersion {
    fn from(version: SchemaVersion) -> Self {
        let SchemaVersion { uri, minor, message, digest, unknown_fields, published_at } = version;
        Self {
            uri: uri.to_string(),
            minor,
            message,
            digest: digest.to_vec().into(),
            unknown_fields: v1::UnknownFields::from(unknown_fields).into(),
            published_at: Some(moment(published_at)),
        }
    }
}

fn unknown_fields(wire: i32) -> Result<UnknownFields, Malformed> {
    one_of_or::<v1::UnknownFields, _>(wire, UnknownFields::Ignore, "unknown_fields")
}

impl TryFrom<v1::SchemaVersion> for SchemaVersion {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaVersion) -> Result<Self, Malformed> {
        let digest = wire.digest.as_ref().try_into();
        Ok(Self {
            uri: parsed(&wire.uri, "uri")?,
            minor: wire.minor,
            message: text(wire.message, "message")?,
            digest: digest.map_err(|_length| Malformed::invalid("digest", "it needs 32 bytes"))?,
            unknown_fields: unknown_fields(wire.unknown_fields)?,
            published_at: message(wire.published_at, "published_at", moment_from)?,
        })
    }
}

impl From<ProtoFile> for v1::ProtoFile {
    fn from(file: ProtoFile) -> Self {
        let ProtoFile { path, text } = file;
        Self { path, text }
    }
}

impl TryFrom<v1::ProtoFile> for ProtoFile {
    type Error = Malformed;
    fn try_from(wire: v1::ProtoFile) -> Result<Self, Malformed> {
        Ok(Self { path: text(wire.path, "path")?, text: wire.text })
    }
}

impl From<SchemaSource> for v1::SchemaSource {
    fn from(source: SchemaSource) -> Self {
        let SchemaSource { uri, entry, files, message, unknown_fields } = source;
        Self {
            uri: uri.to_string(),
            entry,
            files: into_each(files),
            message,
            unknown_fields: v1::UnknownFields::from(unknown_fields).into(),
        }
    }
}

impl TryFrom<v1::SchemaSource> for SchemaSource {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaSource) -> Result<Self, Malformed> {
        Ok(Self {
            uri: parsed(&wire.uri, "uri")?,
            entry: text(wire.entry, "entry")?,
            files: each(wire.files, "files", ProtoFile::try_from)?,
            message: wire.message,
            unknown_fields: unknown_fields(wire.unknown_fields)?,
        })
    }
}

impl From<SchemaBundle> for v1::SchemaBundle {
    fn from(bundle: SchemaBundle) -> Self {
        let SchemaBundle { version, descriptor_set, files } = bundle;
        Self { version: Some(version.into()), descriptor_set, files: into_each(files) }
    }
}

impl TryFrom<v1::SchemaBundle> for SchemaBundle {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaBundle) -> Result<Self, Malformed> {
        Ok(Self {
            version: message(wire.version, "version", SchemaVersion::try_from)?,
            descriptor_set: wire.descriptor_set,
            files: each(wire.files, "files", ProtoFile::try_from)?,
        })
    }
}

impl From<Published> for v1::Published {
    fn from(published: Published) -> Self {
        let Published { version, changed, differences } = published;
        Self { version: Some(version.into()), changed, differences }
    }
}

impl TryFrom<v1::Published> for Published {
    type Error = Malformed;
    fn try_from(wire: v1::Published) -> Result<Self, Malformed> {
        Ok(Self {
            version: message(wire.version, "version", SchemaVersion::try_from)?,
            changed: wire.changed,
            differences: wire.differences,
        })
    }
}
