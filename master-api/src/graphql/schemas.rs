//! Schemas: questions and changes over the port of the schema registry.

use super::{
    access::{OrShow, Result, actor, allowed, allowed_everywhere, invalid, registry, rules},
    budget::{LIST, listed, spend},
    nodes::text,
    schema_sets::{PublicationNode, SchemaSetInput},
};
use async_graphql::{Context, InputObject, Object, SimpleObject};
use contract::{
    ErrorCode,
    access::{Access, Noun},
    schema::{
        Difference, ProtoFile, Published, Rulebook, SchemaSource, SchemaVersion, UnknownFields,
    },
    uri::EventUri,
};

/// A version of the contract of an event type.
#[derive(Debug)]
pub(super) struct SchemaNode(SchemaVersion);

#[Object(name = "Schema")]
impl SchemaNode {
    /// The event type.
    async fn uri(&self) -> &str {
        self.0.uri.as_str()
    }
    /// `major.minor`
    async fn version(&self) -> String {
        self.0.number().to_string()
    }
    /// Full name of the protobuf message.
    async fn message(&self) -> &str {
        &self.0.message
    }
    /// SHA-256 of the bundle in hex.
    async fn digest(&self) -> String {
        hex::encode(self.0.digest)
    }
    /// For unknown fields: `ignore` or `reject`.
    async fn unknown_fields(&self) -> String {
        text(&self.0.unknown_fields)
    }
    /// `certes`, `confluent` or `wire`.
    async fn rulebook(&self) -> &str {
        self.0.rulebook.as_str()
    }
    /// When it was published, RFC 3339.
    async fn published_at(&self) -> String {
        self.0.published_at.to_string()
    }
    /// The sources it was compiled from.
    #[graphql(complexity = "10 + child_complexity")]
    async fn files(&self, context: &Context<'_>) -> Result<Vec<FileNode>> {
        let bundle = registry(context)?.version(&self.0.uri, self.0.number()).await.or_show()?;
        let bytes = bundle.files.iter().map(|file| file.path.len() + file.text.len());
        spend(context, bytes.sum())?;
        let node = |file: &ProtoFile| FileNode { path: file.path.clone(), text: file.text.clone() };
        Ok(bundle.files.iter().map(node).collect())
    }
    /// An example payload in JSON that was published with it.
    #[graphql(complexity = 10)]
    async fn example(&self, context: &Context<'_>) -> Result<Option<String>> {
        let bundle = registry(context)?.version(&self.0.uri, self.0.number()).await.or_show()?;
        spend(context, bundle.example.as_ref().map_or(0, String::len))?;
        Ok(bundle.example.clone())
    }
    /// All differences from another version to this one, also across majors, under a rulebook;
    /// null: that of this version.
    #[graphql(complexity = "10 + child_complexity")]
    async fn diff(
        &self,
        context: &Context<'_>,
        from: String,
        #[graphql(name = "rulebook")] by: Option<String>,
    ) -> Result<Vec<DifferenceNode>> {
        let (uri, from, to) = (&self.0.uri, from.parse().or_show()?, self.0.number());
        let by = by.as_deref().map(rulebook).transpose()?;
        let found = registry(context)?.diff(uri, from, to, by).await.or_show()?;
        listed(context, found, DifferenceNode::from)
    }
    /// All versions of its major, oldest first.
    #[graphql(complexity = "10 * child_complexity")]
    async fn versions(&self, context: &Context<'_>) -> Result<Vec<SchemaNode>> {
        let versions = registry(context)?.versions(&self.0.uri).await.or_show()?;
        listed(context, versions, SchemaNode)
    }
}

/// One `.proto` file.
#[derive(Debug, SimpleObject)]
#[graphql(name = "ProtoFile")]
pub(super) struct FileNode {
    /// Its path as imports name it.
    path: String,
    /// Its text.
    text: String,
}

/// One difference between two versions of a contract.
#[derive(Debug, SimpleObject)]
#[graphql(name = "SchemaDifference")]
pub(super) struct DifferenceNode {
    /// Full name of the field, message, enum or value; empty for the contract as a whole.
    path: String,
    /// What kind of change it is, as in `field_type_changed`.
    rule: String,
    /// `compatible` or `breaking`
    verdict: String,
    /// One sentence for a person.
    text: String,
}

impl From<Difference> for DifferenceNode {
    fn from(difference: Difference) -> Self {
        let verdict = text(&difference.verdict);
        let Difference { path, rule, text, .. } = difference;
        Self { path, rule, verdict, text }
    }
}

/// What publishing did or would do.
#[derive(Debug, SimpleObject)]
#[graphql(name = "PublishedSchema")]
pub(super) struct PublishedNode {
    /// The version that holds the content now; of a check that refuses: the latest one.
    schema: SchemaNode,
    /// False: the same content was there already, or publishing would be refused.
    changed: bool,
    /// The differences to the latest version of the major that was named; those that break first
    /// where not all are listed.
    differences: Vec<DifferenceNode>,
    /// How many more there are.
    differences_left_out: u32,
    /// Only of a check: why publishing would be refused.
    refusal: Option<String>,
    /// Names of the live subscriptions that are hit by a breaking change.
    subscriptions: Vec<String>,
    /// How many more there are.
    subscriptions_left_out: u32,
}

impl From<Published> for PublishedNode {
    fn from(published: Published) -> Self {
        Self {
            schema: SchemaNode(published.version),
            changed: published.changed,
            differences: published.differences.into_iter().map(DifferenceNode::from).collect(),
            differences_left_out: published.differences_left_out,
            refusal: published.refusal,
            subscriptions: published.subscriptions,
            subscriptions_left_out: published.subscriptions_left_out,
        }
    }
}

/// One `.proto` file.
#[derive(Debug, InputObject)]
struct ProtoFileInput {
    /// Its path as imports name it, as in `shop/1/paid.proto`.
    path: String,
    /// Its text.
    text: String,
}

/// A schema to publish.
#[derive(Debug, InputObject)]
pub(super) struct SchemaInput {
    /// The event type, as in `shop/1/paid`.
    uri: String,
    /// Path of the file that holds the message. Null: the only file, or `<uri>.proto`.
    entry: Option<String>,
    /// The entry and what it imports; well-known types are built in.
    files: Vec<ProtoFileInput>,
    /// Full name of the message. Null: the entry's only top-level one, or the last of several.
    message: Option<String>,
    /// `ignore` or `reject`. Null: as the version before, else as the registry is configured.
    unknown_fields: Option<String>,
    /// `certes`, `confluent` or `wire`. Null: as the version before, else `certes`.
    rulebook: Option<String>,
    /// A breaking change makes the next major version instead of being refused.
    #[graphql(default)]
    next_major: bool,
    /// An example payload in JSON, which must keep the contract.
    example: Option<String>,
    /// The latest version that you know of, as in `1.2`; if another is in force, that is a
    /// `conflict`.
    expected: Option<String>,
}

impl TryFrom<SchemaInput> for SchemaSource {
    type Error = async_graphql::Error;

    fn try_from(input: SchemaInput) -> Result<Self> {
        let uri: EventUri = input.uri.parse().or_show()?;
        let only = match input.files.as_slice() {
            [only] => only.path.clone(),
            _ => format!("{uri}.proto"),
        };
        let file = |ProtoFileInput { path, text }| ProtoFile { path, text };
        Ok(Self {
            entry: input.entry.unwrap_or(only),
            files: input.files.into_iter().map(file).collect(),
            message: input.message,
            unknown_fields: unknown_fields(input.unknown_fields.as_deref())?,
            rulebook: input.rulebook.as_deref().map(rulebook).transpose()?,
            next_major: input.next_major,
            example: input.example,
            expected: input.expected.as_deref().map(str::parse).transpose().or_show()?,
            uri,
        })
    }
}

pub(super) fn unknown_fields(name: Option<&str>) -> Result<Option<UnknownFields>> {
    match name {
        None => Ok(None),
        Some("ignore") => Ok(Some(UnknownFields::Ignore)),
        Some("reject") => Ok(Some(UnknownFields::Reject)),
        Some(other) => Err(invalid(format!("`{other}` is not allowed; write ignore or reject"))),
    }
}

pub(super) fn rulebook(name: &str) -> Result<Rulebook> {
    name.parse().map_err(invalid)
}

/// Questions about schemas.
#[derive(Debug, Default)]
pub(super) struct SchemaQuery;

#[Object]
impl SchemaQuery {
    /// Latest versions of all schemas, by URI.
    #[graphql(complexity = "LIST * child_complexity")]
    async fn schemas(&self, context: &Context<'_>) -> Result<Vec<SchemaNode>> {
        allowed(context, Noun::Schemas, Access::Read)?;
        let rules = rules(context)?;
        listed(context, rules.schemas.values(), |found| SchemaNode(SchemaVersion::clone(found)))
    }

    /// A version of a schema, in force or not; by default the latest one.
    async fn schema(
        &self,
        context: &Context<'_>,
        uri: String,
        version: Option<String>,
    ) -> Result<Option<SchemaNode>> {
        allowed(context, Noun::Schemas, Access::Read)?;
        let uri: EventUri = uri.parse().or_show()?;
        let Some(version) = version else {
            let found = rules(context)?.schemas.get(&uri).cloned();
            return Ok(found.map(|found| SchemaNode(SchemaVersion::clone(&found))));
        };
        match registry(context)?.version(&uri, version.parse().or_show()?).await {
            Ok(bundle) => Ok(Some(SchemaNode(bundle.version.clone()))),
            Err(error) => match error.code {
                ErrorCode::NotFound | ErrorCode::UnknownEventType => Ok(None),
                _ => Err(super::error(&error)),
            },
        }
    }

    /// All versions of a type's major that were ever published, oldest first.
    #[graphql(complexity = "LIST * child_complexity")]
    async fn schema_versions(&self, context: &Context<'_>, uri: String) -> Result<Vec<SchemaNode>> {
        allowed(context, Noun::Schemas, Access::Read)?;
        let versions = registry(context)?.versions(&uri.parse().or_show()?).await.or_show()?;
        listed(context, versions, SchemaNode)
    }

    /// What publishing would do, without doing it.
    async fn check_schema(
        &self,
        context: &Context<'_>,
        input: SchemaInput,
    ) -> Result<PublishedNode> {
        allowed_everywhere(context, Noun::Schemas, Access::Read)?;
        Ok(registry(context)?.check(input.try_into()?).await.or_show()?.into())
    }

    /// What publishing several schemas together would do, without doing it.
    async fn check_schemas(
        &self,
        context: &Context<'_>,
        input: SchemaSetInput,
    ) -> Result<PublicationNode> {
        allowed_everywhere(context, Noun::Schemas, Access::Read)?;
        Ok(registry(context)?.check_all(input.try_into()?).await.or_show()?.into())
    }
}

/// Changes of schemas.
#[derive(Debug, Default)]
pub(super) struct SchemaMutation;

#[Object]
impl SchemaMutation {
    /// Compiles, compares and publishes a schema. The same content again changes nothing.
    async fn publish_schema(
        &self,
        context: &Context<'_>,
        input: SchemaInput,
    ) -> Result<PublishedNode> {
        let principal = allowed_everywhere(context, Noun::Schemas, Access::Write)?;
        let source = input.try_into()?;
        Ok(registry(context)?.publish(actor(principal), source).await.or_show()?.into())
    }

    /// Publishes several schemas in one step: all of them, or none. A refusal is an answer: each
    /// schema gets a verdict, and `done` says whether anything was published.
    async fn publish_schemas(
        &self,
        context: &Context<'_>,
        input: SchemaSetInput,
    ) -> Result<PublicationNode> {
        let principal = allowed_everywhere(context, Noun::Schemas, Access::Write)?;
        let set = input.try_into()?;
        Ok(registry(context)?.publish_all(actor(principal), set).await.or_show()?.into())
    }

    /// Takes one major of a type out of force. Refused while subscriptions need it.
    async fn delete_schema(&self, context: &Context<'_>, uri: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Schemas, Access::Write)?;
        let uri: EventUri = uri.parse().or_show()?;
        registry(context)?.delete(actor(principal), &uri).await.or_show().map(|()| true)
    }
}
