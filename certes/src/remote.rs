//! The server as the command line sees it: the public gRPC API with a key, in the contract's nouns.

mod follow;
mod past;

pub use follow::{Followed, Following, Lost};

use crate::{cli::ServerArgs, client::Locator};
use anyhow::{Context, Result};
use contract::{
    Error, ErrorCode,
    broker::TestFired,
    clock::Timestamp,
    command::{Change, Changeset, Command, DeclaredSubscription},
    delivery::Delivery,
    event::{Accepted, Event},
    exchange::Exchange,
    id::{DeliveryId, EventId},
    limits::GRPC_MESSAGE_BYTES_MAX,
    log::{LogPage, LogQuery},
    master_api::{DeliveryFilter, EventFilter, Page, PageRequest, Stats},
    retention::{Erased, ErasureTarget, PayloadState, Retained, RetentionPlan},
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSet, SchemaSource, SchemaVerdict,
        SchemaVersion, VersionNumber,
    },
    secret::Secret,
    source::Source,
    subscription::Subscription,
    uri::EventUri,
};
use proto::{
    client::Bearer,
    status,
    v1::{
        self, configuration_client::ConfigurationClient, deliveries_client::DeliveriesClient,
        event_broker_client::EventBrokerClient, events_client::EventsClient,
        log_service_client::LogServiceClient, retention_client::RetentionClient,
        schema_registry_client::SchemaRegistryClient,
    },
};
use serde::Serialize;
use std::time::Duration;
use tonic::{
    Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Authorised = InterceptedService<Channel, Bearer>;

/// A server, and the key that opens it.
#[derive(Clone)]
pub struct Remote {
    channel: Authorised,
}

impl Remote {
    /// The server that the flags, the environment or the data directory name.
    pub async fn find(args: &ServerArgs) -> Result<Self> {
        let locator = Locator::find(args).await?;
        Self::connect(&locator.http, locator.key(args).await?).await
    }

    /// The server at `url`.
    pub async fn connect(url: &str, key: Secret) -> Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?
            .tls_config(ClientTlsConfig::new().with_webpki_roots())?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(DEADLINE)
            .tcp_nodelay(true);
        let channel = endpoint.connect().await;
        let channel = channel.with_context(|| format!("cannot reach the server at {url}"))?;
        Ok(Self { channel: InterceptedService::new(channel, Bearer::new(&key)?) })
    }

    fn events_client(&self) -> EventsClient<Authorised> {
        EventsClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn broker_client(&self) -> EventBrokerClient<Authorised> {
        EventBrokerClient::new(self.channel.clone())
    }

    fn deliveries_client(&self) -> DeliveriesClient<Authorised> {
        DeliveriesClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn configuration_client(&self) -> ConfigurationClient<Authorised> {
        ConfigurationClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn log_client(&self) -> LogServiceClient<Authorised> {
        LogServiceClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn retention_client(&self) -> RetentionClient<Authorised> {
        RetentionClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn registry_client(&self) -> SchemaRegistryClient<Authorised> {
        SchemaRegistryClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Carries out a changeset, all or nothing.
    pub async fn execute(&self, changeset: Changeset) -> Result<Vec<Change>> {
        let request = v1::ExecuteRequest { changeset: Some(changeset.into()) };
        nouns(take(self.configuration_client().execute(request).await)?.changes)
    }

    /// Carries out one command.
    pub async fn execute_one(&self, command: Command) -> Result<Change> {
        let changes = Changeset { commands: vec![command], ..Changeset::default() };
        self.execute(changes).await?.pop().context("the server named no change")
    }

    /// Has a subscriber's subscriptions as they are declared.
    pub async fn ensure_subscriptions(
        &self,
        subscriber: Option<&str>,
        subscriptions: Vec<DeclaredSubscription>,
        prune: bool,
    ) -> Result<Vec<Change>> {
        let subscriber = subscriber.map(str::to_owned);
        let command = Command::EnsureSubscriptions { subscriber, subscriptions, prune };
        let Some(v1::command::Command::EnsureSubscriptions(wanted)) =
            v1::Command::from(command).command
        else {
            anyhow::bail!("a declaration became another command");
        };
        let request = v1::EnsureSubscriptionsRequest { wanted: Some(wanted), dry_run: false };
        nouns(take(self.configuration_client().ensure_subscriptions(request).await)?.changes)
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

    /// What is kept, and what goes when.
    pub async fn retention_plan(&self) -> Result<RetentionPlan> {
        let request = v1::GetRetentionPlanRequest {};
        noun(take(self.retention_client().get_plan(request).await)?)
    }

    /// Has retention run now.
    pub async fn run_retention(&self, compact: bool) -> Result<Retained> {
        let request = v1::RunRetentionRequest { compact };
        Ok(take(self.retention_client().run(request).await)?.into())
    }

    /// Erases payloads.
    pub async fn erase(&self, target: ErasureTarget) -> Result<Erased> {
        let mut client = self.retention_client();
        let erased = match target {
            ErasureTarget::Event(id) => {
                client.erase_event(v1::EraseEventRequest { id: id.to_string() }).await
            }
            ErasureTarget::Subscriber(id) => {
                client.erase_subscriber(v1::EraseSubscriberRequest { id }).await
            }
        };
        Ok(take(erased)?.into())
    }

    /// Whether the payload of an event is there; None: no such event is known.
    pub async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>> {
        let request = v1::GetPayloadStateRequest { id: id.to_string() };
        let answer = found(self.events_client().get_payload_state(request).await)?;
        answer.map(|answer| noun(v1::PayloadState::try_from(answer.state)?)).transpose()
    }

    /// Events, newest first.
    pub async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        let request = v1::ListEventsRequest::from((filter, page));
        let found = take(self.events_client().list(request).await)?;
        Ok(Page { items: nouns(found.events)?, next: found.next })
    }

    /// Checks an event anew that was kept aside, and has it accepted if it keeps its contract now.
    pub async fn resubmit(&self, id: EventId) -> Result<Accepted> {
        self.try_resubmit(id).await?.map_err(|refusal| explain(&refusal))
    }

    /// As [`Self::resubmit`]; `Ok(Err(_))`: it stays aside, and this is why.
    pub async fn try_resubmit(&self, id: EventId) -> Result<Result<Accepted, Error>> {
        let request = v1::ResubmitRequest { id: id.to_string() };
        let refusal = match self.broker_client().resubmit(request).await {
            Ok(accepted) => return noun(accepted.into_inner()).map(Ok),
            Err(refusal) => status::error(&refusal),
        };
        let stays = [
            ErrorCode::ContractViolation,
            ErrorCode::MalformedPayload,
            ErrorCode::UnknownEventType,
            ErrorCode::UnsupportedMediaType,
        ];
        if stays.contains(&refusal.code) { Ok(Err(refusal)) } else { Err(explain(&refusal)) }
    }

    /// Tries the endpoint of a subscription, and waits for the first attempt.
    pub async fn test_fire(
        &self,
        name: &str,
        uri: Option<EventUri>,
        payload: Option<(Vec<u8>, String)>,
        wait: Duration,
    ) -> Result<TestFired> {
        let (payload, content_type) = payload.unzip();
        let request = v1::TestFireRequest {
            subscription: name.to_owned(),
            event_uri: uri.map(|uri| uri.to_string()),
            payload: payload.map(Into::into),
            content_type: content_type.unwrap_or_default(),
            wait: Some(proto::convert::duration(wait)),
        };
        noun(take(self.broker_client().test_fire(request).await)?)
    }

    /// An event.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let request = v1::GetEventRequest { id: id.to_string() };
        found(self.events_client().get(request).await)?.map(noun).transpose()
    }

    /// A payload.
    pub async fn payload(&self, id: EventId) -> Result<Option<Vec<u8>>> {
        let request = v1::GetPayloadRequest { id: id.to_string() };
        let found = found(self.events_client().get_payload(request).await)?;
        Ok(found.map(|answer| answer.payload.to_vec()))
    }

    /// The deliveries of an event.
    pub async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        let request = v1::ListEventDeliveriesRequest { id: id.to_string() };
        nouns(take(self.events_client().list_deliveries(request).await)?.deliveries)
    }

    /// A delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let request = v1::GetDeliveryRequest { id: id.to_string() };
        found(self.deliveries_client().get(request).await)?.map(noun).transpose()
    }

    /// What went over the wire in the attempts of a delivery.
    pub async fn exchanges(&self, id: DeliveryId) -> Result<Vec<Exchange>> {
        let request = v1::GetExchangesRequest { id: id.to_string() };
        nouns(take(self.deliveries_client().get_exchanges(request).await)?.exchanges)
    }

    /// Deliveries, newest first.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let request = v1::ListDeliveriesRequest::from((filter, page));
        let found = take(self.deliveries_client().list(request).await)?;
        Ok(Page { items: nouns(found.deliveries)?, next: found.next })
    }

    /// Makes a finished delivery wait again.
    pub async fn resend(&self, id: DeliveryId) -> Result<Delivery> {
        let request = v1::ResendRequest { id: id.to_string() };
        noun(take(self.deliveries_client().resend(request).await)?)
    }

    /// Numbers of the whole deployment.
    pub async fn stats(&self) -> Result<Stats> {
        Ok(take(self.deliveries_client().get_stats(v1::GetStatsRequest {}).await)?.into())
    }

    /// Facts of the log, oldest first.
    pub async fn facts(&self, query: LogQuery) -> Result<LogPage> {
        noun(take(self.log_client().list(v1::ListFactsRequest::from(query)).await)?)
    }

    /// Sources, by name.
    pub async fn sources(&self) -> Result<Vec<Source>> {
        let request = v1::ListSourcesRequest {};
        nouns(take(self.configuration_client().list_sources(request).await)?.sources)
    }

    /// Subscriptions, oldest first.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        let request = v1::ListSubscriptionsRequest {};
        nouns(take(self.configuration_client().list_subscriptions(request).await)?.subscriptions)
    }

    /// The subscription of this name.
    pub async fn subscription(&self, name: &str) -> Result<Subscription> {
        let found = self.subscriptions().await?.into_iter().find(|found| found.spec.name == name);
        found.with_context(|| format!("there is no subscription `{name}`"))
    }

    /// Latest versions of all schemas.
    pub async fn schemas(&self) -> Result<Vec<SchemaVersion>> {
        let request = v1::ListSchemasRequest {};
        nouns(take(self.configuration_client().list_schemas(request).await)?.schemas)
    }

    /// Users.
    pub async fn users(&self) -> Result<Vec<ListedUser>> {
        let request = v1::ListUsersRequest {};
        let users = take(self.configuration_client().list_users(request).await)?.users;
        Ok(users.into_iter().map(ListedUser::from).collect())
    }

    /// Seals all stored secrets anew.
    pub async fn rotate_secret_key(&self) -> Result<()> {
        let request = v1::RotateSecretKeyRequest {};
        take(self.configuration_client().rotate_secret_key(request).await).map(|_done| ())
    }

    /// Settings, by name.
    pub async fn settings(&self) -> Result<Vec<ListedSetting>> {
        let request = v1::ListSettingsRequest {};
        let found = take(self.configuration_client().list_settings(request).await)?;
        Ok(found.settings.into_iter().map(Into::into).collect())
    }

    /// API keys.
    pub async fn keys(&self) -> Result<Vec<ListedKey>> {
        let request = v1::ListKeysRequest {};
        let keys = take(self.configuration_client().list_keys(request).await)?.keys;
        Ok(keys.into_iter().map(ListedKey::from).collect())
    }
}

/// A user as everybody may see it.
#[derive(Debug, Clone, Serialize)]
pub struct ListedUser {
    /// `user_...`
    pub id: String,
    /// The name to log in with.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
    /// It cannot log in.
    pub disabled: bool,
}

impl From<v1::User> for ListedUser {
    fn from(user: v1::User) -> Self {
        let v1::User { id, name, roles, subscriber, disabled, created_at: _ } = user;
        Self { id, name, roles, subscriber, disabled }
    }
}

/// A setting with what it may be.
#[derive(Debug, Clone, Serialize)]
pub struct ListedSetting {
    /// Its name.
    pub key: String,
    /// `bool`, `integer` or `duration`.
    pub r#type: String,
    /// As a text; None: it is not set.
    pub value: Option<String>,
    /// What holds while it is not set, in words.
    pub default: String,
    /// The least value.
    pub least: Option<String>,
    /// The greatest value.
    pub most: Option<String>,
    /// What it is about.
    pub about: String,
    /// How many times it was changed.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Option<Timestamp>,
}

impl From<v1::Setting> for ListedSetting {
    fn from(setting: v1::Setting) -> Self {
        let v1::Setting { key, r#type, value, default, least, most, about, version, changed_at } =
            setting;
        let changed_at = changed_at.and_then(|time| proto::convert::moment_from(time).ok());
        Self { key, r#type, value, default, least, most, about, version, changed_at }
    }
}

/// An API key as everybody may see it: without anything of its token but the beginning.
#[derive(Debug, Clone, Serialize)]
pub struct ListedKey {
    /// `key_...`
    pub id: String,
    /// A name for people.
    pub name: String,
    /// How its token begins.
    pub prefix: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute or two; None: never.
    pub last_used_at: Option<Timestamp>,
}

impl From<v1::ApiKey> for ListedKey {
    fn from(key: v1::ApiKey) -> Self {
        let moment = |time| proto::convert::moment_from(time).ok();
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            roles: key.roles,
            subscriber: key.subscriber,
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
        }
    }
}

/// The answer, or the server's error as one sentence with all violations.
fn take<T>(answer: Result<Response<T>, Status>) -> Result<T> {
    answer.map(Response::into_inner).map_err(|refusal| explain(&status::error(&refusal)))
}

/// As [`take`], where "not found" is an answer.
fn found<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>> {
    match answer.map_err(|refusal| status::error(&refusal)) {
        Ok(found) => Ok(Some(found.into_inner())),
        Err(error) if error.code == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(explain(&error)),
    }
}

fn explain(error: &Error) -> anyhow::Error {
    let mut text = format!("{} ({})", error.message, error.code);
    for violation in &error.violations {
        let (path, rule) = (&violation.path, &violation.rule);
        text.push_str(&format!(
            "\n  {path}: expected {}, found {} ({rule})",
            violation.expected, violation.found
        ));
    }
    anyhow::anyhow!(text)
}

fn noun<W, N: TryFrom<W, Error: Into<Error>>>(message: W) -> Result<N> {
    N::try_from(message).map_err(|malformed| explain(&malformed.into()))
}

fn nouns<W, N: TryFrom<W, Error: Into<Error>>>(messages: Vec<W>) -> Result<Vec<N>> {
    messages.into_iter().map(noun).collect()
}
