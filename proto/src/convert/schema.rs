//! Schemas, and how payloads break them.

use super::{
    Malformed, each, into_each, message, moment, moment_from, one_of, one_of_or, optional, parsed,
    parsed_optional, text,
};
use crate::v1;
use contract::{
    Error,
    schema::{
        Difference, ProtoFile, PublishSettings, Published, Rulebook, SchemaBundle, SchemaSet,
        SchemaSource, SchemaVerdict, SchemaVersion, UnknownFields, Verdict, Violation,
    },
};

same_variants!(UnknownFields, v1::UnknownFields, [Ignore, Reject]);
same_variants!(Rulebook, v1::Rulebook, [Certes, Confluent, Wire]);
same_variants!(Verdict, v1::Verdict, [Compatible, Breaking]);

impl From<Difference> for v1::Difference {
    fn from(difference: Difference) -> Self {
        let Difference { path, rule, verdict, text } = difference;
        Self { path, rule, verdict: v1::Verdict::from(verdict).into(), text }
    }
}

impl TryFrom<v1::Difference> for Difference {
    type Error = Malformed;
    fn try_from(wire: v1::Difference) -> Result<Self, Malformed> {
        Ok(Self {
            path: wire.path,
            rule: text(wire.rule, "rule")?,
            verdict: one_of::<v1::Verdict, _>(wire.verdict, "verdict")?,
            text: wire.text,
        })
    }
}

/// A rulebook as a field in which 0 stands for none.
pub(crate) fn rulebook_as_wire(rulebook: Option<Rulebook>) -> i32 {
    rulebook.map_or(v1::Rulebook::Unspecified, v1::Rulebook::from).into()
}

/// A rulebook out of a field in which 0 stands for none.
pub(crate) fn rulebook_from(wire: i32) -> Result<Option<Rulebook>, Malformed> {
    if wire == 0 { Ok(None) } else { one_of::<v1::Rulebook, _>(wire, "rulebook").map(Some) }
}

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
        let SchemaVersion { uri, minor, message, digest, unknown_fields, rulebook, published_at } =
            version;
        Self {
            uri: uri.to_string(),
            minor,
            message,
            digest: digest.to_vec().into(),
            unknown_fields: v1::UnknownFields::from(unknown_fields).into(),
            rulebook: v1::Rulebook::from(rulebook).into(),
            published_at: Some(moment(published_at)),
        }
    }
}

fn unknown_fields(wire: i32) -> Result<UnknownFields, Malformed> {
    one_of_or::<v1::UnknownFields, _>(wire, UnknownFields::Ignore, "unknown_fields")
}

fn unknown_fields_as_wire(given: Option<UnknownFields>) -> i32 {
    given.map_or(v1::UnknownFields::Unspecified, v1::UnknownFields::from).into()
}

fn unknown_fields_from(wire: i32) -> Result<Option<UnknownFields>, Malformed> {
    match wire {
        0 => Ok(None),
        given => one_of::<v1::UnknownFields, _>(given, "unknown_fields").map(Some),
    }
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
            rulebook: rulebook_from(wire.rulebook)?.unwrap_or_default(),
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
        let SchemaSource {
            uri,
            entry,
            files,
            message,
            unknown_fields,
            rulebook,
            next_major,
            example,
            expected,
        } = source;
        Self {
            uri: uri.to_string(),
            entry,
            files: into_each(files),
            message,
            unknown_fields: unknown_fields_as_wire(unknown_fields),
            rulebook: rulebook_as_wire(rulebook),
            next_major,
            example,
            expected: expected.map(|expected| expected.to_string()),
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
            unknown_fields: unknown_fields_from(wire.unknown_fields)?,
            rulebook: rulebook_from(wire.rulebook)?,
            next_major: wire.next_major,
            example: wire.example,
            expected: parsed_optional(wire.expected, "expected")?,
        })
    }
}

impl From<PublishSettings> for v1::PublishSettings {
    fn from(settings: PublishSettings) -> Self {
        let PublishSettings { unknown_fields, rulebook, next_major, expected } = settings;
        Self {
            unknown_fields: unknown_fields_as_wire(unknown_fields),
            rulebook: rulebook_as_wire(rulebook),
            next_major,
            expected: expected.map(|expected| expected.to_string()),
        }
    }
}

impl TryFrom<v1::PublishSettings> for PublishSettings {
    type Error = Malformed;
    fn try_from(wire: v1::PublishSettings) -> Result<Self, Malformed> {
        Ok(Self {
            unknown_fields: unknown_fields_from(wire.unknown_fields)?,
            rulebook: rulebook_from(wire.rulebook)?,
            next_major: wire.next_major,
            expected: parsed_optional(wire.expected, "expected")?,
        })
    }
}

impl From<SchemaSet> for v1::SchemaSet {
    fn from(set: SchemaSet) -> Self {
        match set {
            SchemaSet::Sources(sources) => Self { sources: into_each(sources), ..Self::default() },
            SchemaSet::Archive(bytes, settings) => {
                Self { archive: Some(bytes), settings: Some(settings.into()), ..Self::default() }
            }
        }
    }
}

impl TryFrom<v1::SchemaSet> for SchemaSet {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaSet) -> Result<Self, Malformed> {
        let v1::SchemaSet { sources, archive, settings } = wire;
        match archive {
            None if sources.is_empty() => Err(Malformed::missing("sources")),
            None => each(sources, "sources", SchemaSource::try_from).map(Self::Sources),
            Some(_) if !sources.is_empty() => {
                Err(Malformed::invalid("archive", "there are `sources`, too"))
            }
            Some(archive) => {
                let settings = optional(settings, "settings", PublishSettings::try_from)?;
                Ok(Self::Archive(archive, settings.unwrap_or_default()))
            }
        }
    }
}

impl From<Error> for v1::Refusal {
    fn from(error: Error) -> Self {
        let Error { code, message, violations, retry_after: _ } = error;
        Self { code: code.as_str().to_owned(), message, violations: into_each(violations) }
    }
}

impl TryFrom<v1::Refusal> for Error {
    type Error = Malformed;
    fn try_from(wire: v1::Refusal) -> Result<Self, Malformed> {
        let code = wire.code.parse();
        let code = code.map_err(|()| Malformed::invalid("code", "it is not one of the codes"))?;
        Ok(Self { violations: into_each(wire.violations), ..Self::new(code, wire.message) })
    }
}

impl From<SchemaVerdict> for v1::SchemaVerdict {
    fn from(verdict: SchemaVerdict) -> Self {
        let SchemaVerdict { uri, published, error } = verdict;
        Self {
            uri: uri.to_string(),
            published: published.map(Into::into),
            refusal: error.map(Into::into),
        }
    }
}

impl TryFrom<v1::SchemaVerdict> for SchemaVerdict {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaVerdict) -> Result<Self, Malformed> {
        Ok(Self {
            uri: parsed(&wire.uri, "uri")?,
            published: optional(wire.published, "published", Published::try_from)?,
            error: optional(wire.refusal, "refusal", Error::try_from)?,
        })
    }
}

/// Verdicts as an answer.
pub(crate) fn verdicts_as_wire(verdicts: Vec<SchemaVerdict>) -> v1::PublishAllResponse {
    let done = !verdicts.iter().any(SchemaVerdict::is_refused);
    v1::PublishAllResponse { done, verdicts: into_each(verdicts) }
}

impl From<SchemaBundle> for v1::SchemaBundle {
    fn from(bundle: SchemaBundle) -> Self {
        let SchemaBundle { version, descriptor_set, files, example } = bundle;
        Self { version: Some(version.into()), descriptor_set, files: into_each(files), example }
    }
}

impl TryFrom<v1::SchemaBundle> for SchemaBundle {
    type Error = Malformed;
    fn try_from(wire: v1::SchemaBundle) -> Result<Self, Malformed> {
        Ok(Self {
            version: message(wire.version, "version", SchemaVersion::try_from)?,
            descriptor_set: wire.descriptor_set,
            files: each(wire.files, "files", ProtoFile::try_from)?,
            example: wire.example,
        })
    }
}

impl From<Published> for v1::Published {
    fn from(published: Published) -> Self {
        Self {
            version: Some(published.version.into()),
            changed: published.changed,
            differences: into_each(published.differences),
            refusal: published.refusal,
            subscriptions: published.subscriptions,
            differences_left_out: published.differences_left_out,
            subscriptions_left_out: published.subscriptions_left_out,
        }
    }
}

impl TryFrom<v1::Published> for Published {
    type Error = Malformed;
    fn try_from(wire: v1::Published) -> Result<Self, Malformed> {
        Ok(Self {
            version: message(wire.version, "version", SchemaVersion::try_from)?,
            changed: wire.changed,
            differences: each(wire.differences, "differences", Difference::try_from)?,
            refusal: wire.refusal,
            subscriptions: wire.subscriptions,
            differences_left_out: wire.differences_left_out,
            subscriptions_left_out: wire.subscriptions_left_out,
        })
    }
}
