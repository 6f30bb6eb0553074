//! The server as the command line sees it: the public gRPC API with a key, in the contract's nouns.

mod follow;
mod listed;
mod past;
mod pull;
mod registry;
mod replays;
mod traffic;

pub use follow::{Followed, Following, Lost};
pub use listed::{ListedKey, ListedSetting, ListedUser};
pub use pull::{Pulling, Say, Told};

use crate::{cli::ServerArgs, client::Locator};
use anyhow::{Context, Result};
use contract::{
    Error, ErrorCode,
    command::{Change, Changeset, Command, DeclaredSubscription},
    limits::GRPC_MESSAGE_BYTES_MAX,
    log::{LogPage, LogQuery},
    retention::{Erased, ErasureTarget, Retained, RetentionPlan},
    secret::Secret,
    source::Source,
    subscription::Subscription,
};
use proto::{
    client::Bearer,
    status,
    v1::{
        self, configuration_client::ConfigurationClient, log_service_client::LogServiceClient,
        retention_client::RetentionClient,
    },
};
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
