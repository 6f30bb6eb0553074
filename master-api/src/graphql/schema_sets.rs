//! Schemas that are published together, over GraphQL.

use super::{
    access::{OrShow, Result, invalid},
    nodes::text,
    schemas::{PublishedNode, SchemaInput, rulebook, unknown_fields},
};
use async_graphql::{InputObject, SimpleObject};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    Error,
    schema::{PublishSettings, SchemaSet, SchemaSource, SchemaVerdict, Violation},
};

/// Schemas to publish together: either `schemas` or `archive`.
#[derive(Debug, InputObject)]
pub(super) struct SchemaSetInput {
    /// One by one. A file that one of them lacks is looked for among those of the others.
    schemas: Option<Vec<SchemaInput>>,
    /// A tar, packed by gzip or not, in base64, laid out as `NAMESPACE/MAJOR/NAME.proto`, with
    /// examples beside as `NAMESPACE/MAJOR/NAME.example.json`. A request has at most 1 MiB; the gRPC
    /// API takes larger ones.
    archive: Option<String>,
    /// For the schemas of the archive.
    settings: Option<PublishSettingsInput>,
}

/// How the schemas of an archive are published.
#[derive(Debug, Default, InputObject)]
struct PublishSettingsInput {
    /// `ignore` or `reject`. Null: as the version before, else as the registry is configured.
    unknown_fields: Option<String>,
    /// `certes`, `confluent` or `wire`. Null: as the version before, else `certes`.
    rulebook: Option<String>,
    /// A breaking change makes the next major version instead of being refused.
    #[graphql(default)]
    next_major: bool,
    /// The latest version that you know of; only where the archive holds one schema.
    expected: Option<String>,
}

impl TryFrom<SchemaSetInput> for SchemaSet {
    type Error = async_graphql::Error;

    fn try_from(input: SchemaSetInput) -> Result<Self> {
        let SchemaSetInput { schemas, archive, settings } = input;
        match (schemas, archive) {
            (Some(schemas), None) if settings.is_none() => {
                let sources: Result<Vec<_>> =
                    schemas.into_iter().map(SchemaSource::try_from).collect();
                Ok(Self::Sources(sources?))
            }
            (None, Some(archive)) => {
                let bytes = STANDARD
                    .decode(archive)
                    .map_err(|error| invalid(format!("`archive` is no base64: {error}")))?;
                let settings = settings.unwrap_or_default().try_into()?;
                Ok(Self::Archive(bytes.into(), settings))
            }
            (Some(_), None) => Err(invalid("`settings` are for an `archive`".to_owned())),
            _ => Err(invalid("give either `schemas` or `archive`".to_owned())),
        }
    }
}

impl TryFrom<PublishSettingsInput> for PublishSettings {
    type Error = async_graphql::Error;

    fn try_from(input: PublishSettingsInput) -> Result<Self> {
        Ok(Self {
            unknown_fields: unknown_fields(input.unknown_fields.as_deref())?,
            rulebook: input.rulebook.as_deref().map(rulebook).transpose()?,
            next_major: input.next_major,
            expected: input.expected.as_deref().map(str::parse).transpose().or_show()?,
        })
    }
}

/// What publishing several schemas together did or would do.
#[derive(Debug, SimpleObject)]
#[graphql(name = "SchemaPublication")]
pub(super) struct PublicationNode {
    /// Nothing is refused.
    done: bool,
    /// In the order of the set; those of an archive by URI.
    verdicts: Vec<VerdictNode>,
}

/// What became, or would become, of one schema of several.
#[derive(Debug, SimpleObject)]
#[graphql(name = "SchemaVerdict")]
struct VerdictNode {
    /// The type that was named.
    uri: String,
    /// What it is published as if nothing is refused. Null: it could not be compared.
    published: Option<PublishedNode>,
    /// Why it is refused, and with it all.
    refusal: Option<RefusalNode>,
}

/// Why a schema is refused.
#[derive(Debug, SimpleObject)]
#[graphql(name = "SchemaRefusal")]
struct RefusalNode {
    /// The stable code, as in `invalid_definition`.
    code: String,
    /// One sentence or more for a person.
    message: String,
    /// Each breaking difference, or each field of the example that breaks the contract.
    violations: Vec<ViolationNode>,
}

/// One way in which something breaks a contract.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Violation")]
struct ViolationNode {
    /// Where.
    path: String,
    /// What is wanted there.
    expected: String,
    /// What was there.
    found: String,
    /// Which rule.
    rule: String,
}

impl From<Vec<SchemaVerdict>> for PublicationNode {
    fn from(verdicts: Vec<SchemaVerdict>) -> Self {
        let done = !verdicts.iter().any(SchemaVerdict::is_refused);
        Self { done, verdicts: verdicts.into_iter().map(VerdictNode::from).collect() }
    }
}

impl From<SchemaVerdict> for VerdictNode {
    fn from(verdict: SchemaVerdict) -> Self {
        let SchemaVerdict { uri, published, error } = verdict;
        Self {
            uri: uri.to_string(),
            published: published.map(PublishedNode::from),
            refusal: error.map(RefusalNode::from),
        }
    }
}

impl From<Error> for RefusalNode {
    fn from(error: Error) -> Self {
        let Error { code, message, violations, .. } = error;
        let node = |violation: Violation| {
            let Violation { path, expected, found, rule } = violation;
            ViolationNode { path, expected, found, rule }
        };
        let violations = violations.into_iter().map(node).collect();
        Self { code: text(&code), message, violations }
    }
}
