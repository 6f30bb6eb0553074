//! Schemas: publishing, looking, comparing.

use super::{Authorised, Remote, noun, nouns, take};
use anyhow::Result;
use contract::{
    limits::GRPC_MESSAGE_BYTES_MAX,
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSet, SchemaSource, SchemaVerdict,
        SchemaVersion, VersionNumber,
    },
    uri::EventUri,
};
use proto::v1::{self, schema_registry_client::SchemaRegistryClient};

impl Remote {
    fn registry_client(&self) -> SchemaRegistryClient<Authorised> {
        SchemaRegistryClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Publishes a schema.
    pub async fn publish(&self, source: SchemaSource) -> Result<Published> {
        let request = v1::PublishRequest { source: Some(source.into()) };
        noun(take(self.registry_client().publish(request).await)?)
    }

    /// Says what publishing would do.
    pub async fn check(&self, source: SchemaSource) -> Result<Published> {
        let request = v1::CheckRequest { source: Some(source.into()) };
        noun(take(self.registry_client().check(request).await)?)
    }

    /// Publishes several schemas together, or none of them if a verdict refuses one.
    pub async fn publish_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let request = v1::PublishAllRequest { set: Some(set.into()) };
        nouns(take(self.registry_client().publish_all(request).await)?.verdicts)
    }

    /// Says what publishing several schemas together would do.
    pub async fn check_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let request = v1::CheckAllRequest { set: Some(set.into()) };
        nouns(take(self.registry_client().check_all(request).await)?.verdicts)
    }

    /// The latest version of a schema.
    pub async fn schema(&self, uri: &EventUri) -> Result<SchemaBundle> {
        let request = v1::GetSchemaRequest { uri: uri.to_string(), refresh: false };
        noun(take(self.registry_client().get(request).await)?)
    }

    /// A version of a schema.
    pub async fn schema_version(
        &self,
        uri: &EventUri,
        number: VersionNumber,
    ) -> Result<SchemaBundle> {
        let (uri, version) = (uri.to_string(), number.to_string());
        let request = v1::GetSchemaVersionRequest { uri, version };
        noun(take(self.registry_client().get_version(request).await)?)
    }

    /// All versions of a schema, oldest first.
    pub async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let request = v1::ListVersionsOfSchemaRequest { uri: uri.to_string() };
        nouns(take(self.registry_client().list_versions(request).await)?.schemas)
    }

    /// Latest versions of all schemas.
    pub async fn schemas(&self) -> Result<Vec<SchemaVersion>> {
        let request = v1::ListSchemasRequest {};
        nouns(take(self.configuration_client().list_schemas(request).await)?.schemas)
    }

    /// All differences between two versions of a schema.
    pub async fn diff_schema(
        &self,
        uri: &EventUri,
        from: VersionNumber,
        to: VersionNumber,
        rulebook: Option<Rulebook>,
    ) -> Result<Vec<Difference>> {
        let rulebook = rulebook.map_or(v1::Rulebook::Unspecified, v1::Rulebook::from).into();
        let (uri, from, to) = (uri.to_string(), from.to_string(), to.to_string());
        let request = v1::DiffSchemaRequest { uri, from, to, rulebook };
        nouns(take(self.registry_client().diff(request).await)?.differences)
    }

    /// Takes a schema out of force.
    pub async fn delete_schema(&self, uri: &EventUri) -> Result<()> {
        let request = v1::DeleteSchemaRequest { uri: uri.to_string() };
        take(self.registry_client().delete(request).await).map(|_done| ())
    }
}
