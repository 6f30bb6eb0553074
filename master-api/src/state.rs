//! The configuration as it stands: a fold of the configuration facts. Pure and total.

mod gone;

pub use gone::{Dropped, Losses};

use crate::fact::{Bucket, FactBody, Hash, ReplayOrder};
use contract::{
    access::{ApiKey, Roles, TokenKey, User},
    backoff::{BackoffRule, BackoffTarget},
    clock::Timestamp,
    command::Target,
    event::Direction,
    id::{KeyId, ReplayId, SecretId, Sequence, SubscriptionNumber, UserId},
    limits::REPLAYS_KEPT_MAX,
    master_api::Stats,
    replay::ReplayProgress,
    retention::ErasureTarget,
    rules::Rules,
    schema::SchemaVersion,
    secret::Secret,
    setting::Settings,
    source::Source,
    subscription::{
        EventType, SecretRef, Subscriber, Subscription, SubscriptionSpec, SubscriptionStatus,
    },
    uri::EventUri,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Everything that was configured, as of [`Self::sequence`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The last configuration fact that is in it.
    pub sequence: Sequence,
    /// The last fact by which an event could match otherwise than before.
    pub match_sequence: Sequence,
    /// The format that the log may hold.
    pub format: u32,
    /// Days of traffic that ended, by day.
    pub buckets: BTreeMap<Bucket, ClosedBucket>,
    /// The last day that is about to go.
    pub retired: Option<Bucket>,
    /// What is gone of the log.
    pub dropped: Dropped,
    /// What went with the days that are gone.
    pub gone: Stats,
    /// Erasures that were ordered and are not done, by their position.
    pub erasing: BTreeMap<Sequence, ErasureTarget>,
    /// Stored secrets.
    pub secrets: BTreeMap<SecretId, SecretRef>,
    /// Stamp keys, the current one last.
    pub stamp_keys: Vec<SecretRef>,
    /// API keys that work.
    pub keys: BTreeMap<KeyId, Arc<ApiKey>>,
    /// Users by id.
    pub users: BTreeMap<UserId, Arc<User>>,
    /// Keys whose tokens are taken, the current one last.
    pub token_keys: Vec<Arc<TokenKey>>,
    /// Subscribers by id.
    pub subscribers: BTreeMap<String, Arc<Subscriber>>,
    /// Event types with defaults.
    pub event_types: BTreeMap<EventUri, Arc<EventType>>,
    /// Sources by name.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// Back-off rules.
    pub backoffs: BTreeMap<(BackoffTarget, Direction), Arc<BackoffRule>>,
    /// Latest version of each schema.
    pub schemas: BTreeMap<EventUri, Arc<SchemaVersion>>,
    /// All versions of each schema, oldest first, also of those that were removed since.
    pub schema_versions: BTreeMap<EventUri, Arc<Vec<SchemaVersion>>>,
    /// Subscriptions by number.
    pub subscriptions: BTreeMap<SubscriptionNumber, Arc<Subscription>>,
    /// Numbers of the subscriptions by name.
    pub subscription_names: BTreeMap<String, SubscriptionNumber>,
    /// The highest number that was ever given.
    pub last_number: SubscriptionNumber,
    /// Removed subscriptions that may still have waiting deliveries.
    pub clearing: BTreeSet<SubscriptionNumber>,
    /// Subscriptions that are resumed when what waited before this position is taken back.
    pub skipping: BTreeMap<SubscriptionNumber, Sequence>,
    /// What manifests put.
    pub managed: BTreeSet<Target>,
    /// What operators have set.
    pub settings: Settings,
    /// What a repair went on without.
    pub losses: Losses,
    /// Replays that are not over, and the newest of the others. Ids grow with time.
    pub replays: BTreeMap<ReplayId, Arc<HeldReplay>>,
}

/// A replay, but for how far it is while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldReplay {
    /// What was ordered.
    pub order: ReplayOrder,
    /// Somebody wants it no more.
    pub cancelled: bool,
    /// When it was over, and what it did.
    pub ended: Option<(Timestamp, ReplayProgress)>,
}

/// What is kept of a day of traffic when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedBucket {
    /// How many facts it holds.
    pub count: u64,
    /// Its last fact.
    pub last: Sequence,
    /// Hash of its last fact.
    pub hash: Hash,
}

impl State {
    /// Does a delivery lie in a day that is gone or about to go?
    pub fn retired(&self, sequence: Sequence, carried: Option<Bucket>) -> bool {
        let retired = Dropped { bucket: self.retired, last: self.last_of(self.retired) };
        retired.delivery(sequence, carried)
    }

    /// The last fact of a day that ended.
    fn last_of(&self, bucket: Option<Bucket>) -> Sequence {
        let closed = bucket.and_then(|bucket| self.buckets.get(&bucket));
        closed.map_or(Sequence(0), |closed| closed.last)
    }

    /// The subscription of that name.
    pub fn subscription_named(&self, name: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(self.subscription_names.get(name)?)
    }

    /// The day that holds the traffic fact at `sequence`; None: the day that is open.
    pub fn closed_bucket_of(&self, sequence: Sequence) -> Option<Bucket> {
        let mut newest_first = self.buckets.iter().rev();
        let before = newest_first.by_ref().take_while(|(_, closed)| closed.last >= sequence);
        before.last().map(|(bucket, _)| *bucket)
    }

    /// Takes in the fact at `sequence`.
    #[expect(clippy::too_many_lines, reason = "a table: one arm for each kind, none for the rest")]
    pub fn apply(&mut self, sequence: Sequence, body: &FactBody) {
        if self.changes_match(body) {
            self.match_sequence = sequence;
        }
        match body {
            FactBody::EventAccepted { .. }
            | FactBody::EventQuarantined { .. }
            | FactBody::AttemptRecorded { .. }
            | FactBody::DeliveryResent { .. }
            | FactBody::DeliveryCancelled { .. }
            | FactBody::QuarantineReleased { .. }
            | FactBody::EventCarried { .. }
            | FactBody::DeliveryCarried { .. }
            | FactBody::DeliveryAbandoned { .. }
            | FactBody::PayloadRemoved { .. }
            | FactBody::DeliveriesMade { .. }
            | FactBody::ReplayAdvanced { .. } => return,
            FactBody::FormatRaised { format } => self.format = *format,
            FactBody::BucketClosed { bucket, count, last, hash } => {
                let (count, last, hash) = (*count, *last, *hash);
                self.buckets.insert(*bucket, ClosedBucket { count, last, hash });
            }
            FactBody::BucketRetired { bucket } => self.retired = Some(*bucket),
            FactBody::BucketDropped { bucket, gone } => self.drop_bucket(*bucket, gone),
            FactBody::ErasureOrdered { target } => {
                _ = self.erasing.insert(sequence, target.clone())
            }
            FactBody::ErasureDone { ordered } => _ = self.erasing.remove(ordered),
            FactBody::SecretStored(secret) => _ = self.secrets.insert(secret.id, secret.clone()),
            FactBody::SecretErased { id } => _ = self.secrets.remove(id),
            FactBody::StampKeyCreated(secret) => self.stamp_keys.push(secret.clone()),
            FactBody::KeyIssued(key) => self.issue_key(key),
            FactBody::KeyRevoked { id } => _ = self.keys.remove(id),
            FactBody::SchemaPublished(version) => self.publish_schema(version),
            FactBody::SchemaRemoved { uri } => self.remove_schema(uri),
            FactBody::LossAccepted { facts, payloads } => self.losses.add(facts, payloads),
            FactBody::ObjectManaged(target) => _ = self.managed.insert(target.clone()),
            FactBody::SubscriberPut(subscriber) => {
                self.subscribers.insert(subscriber.id.clone(), Arc::new(subscriber.clone()));
            }
            FactBody::SubscriberRemoved { id } => self.remove_subscriber(id),
            FactBody::EventTypePut(event_type) => {
                self.event_types.insert(event_type.uri.clone(), Arc::new(event_type.clone()));
            }
            FactBody::EventTypeRemoved { uri } => self.remove_event_type(uri),
            FactBody::SourcePut(source) => {
                self.sources.insert(source.spec.name.clone(), Arc::new(Source::clone(source)));
            }
            FactBody::SourceRemoved { name } => self.remove_source(name),
            FactBody::BackoffPut(rule) => self.put_backoff(rule),
            FactBody::BackoffRemoved { target, direction } => {
                self.remove_backoff(target, *direction);
            }
            FactBody::SubscriptionCreated(subscription) => self.create(subscription),
            FactBody::SubscriptionChanged { number, spec, secrets } => {
                self.change(*number, |subscription| {
                    // Of another endpoint nothing is known yet.
                    subscription.breaker.take_if(|_| subscription.spec.url != spec.url);
                    subscription.spec = SubscriptionSpec::clone(spec);
                    subscription.secrets.clone_from(secrets);
                });
            }
            FactBody::SubscriptionStatusChanged { number, status, reason } => {
                self.change(*number, |subscription| {
                    subscription.status = *status;
                    subscription.status_reason.clone_from(reason);
                    // Who resumes wants it tried.
                    subscription.breaker.take_if(|_| *status == SubscriptionStatus::Active);
                });
            }
            FactBody::BreakerOpened { number, breaker } => {
                self.change(*number, |subscription| subscription.breaker = Some(*breaker));
            }
            FactBody::BreakerClosed { number } => {
                self.change(*number, |subscription| subscription.breaker = None);
            }
            FactBody::SubscriptionRemoved { number } => self.remove_subscription(*number),
            FactBody::SubscriptionCleared { number } => {
                self.clearing.remove(number);
                self.skipping.remove(number);
            }
            FactBody::DeliveriesSkipped { number } => {
                self.skipping.insert(*number, sequence);
            }
            FactBody::UserCreated(user) => self.create_user(user),
            FactBody::UserRolesSet { id, roles } => self.set_roles(*id, roles),
            FactBody::UserPasswordSet { id, password } => self.set_password(*id, password),
            FactBody::UserDisabled { id, disabled } => self.set_disabled(*id, *disabled),
            FactBody::UserRemoved { id } => _ = self.users.remove(id),
            FactBody::TokenKeyCreated(key) => self.token_keys.push(Arc::new(TokenKey::clone(key))),
            FactBody::TokenKeyForgotten { id } => self.token_keys.retain(|key| key.id != *id),
            FactBody::ConfigSet { key, setting } => {
                _ = self.settings.0.insert(key.clone(), *setting);
            }
            FactBody::ReplayStarted(order) => {
                let held = HeldReplay { order: (**order).clone(), cancelled: false, ended: None };
                self.replays.insert(order.id, Arc::new(held));
            }
            FactBody::ReplayCancelled { replay } => {
                self.change_replay(*replay, |held| held.cancelled = true);
            }
            FactBody::ReplayEnded { replay, at, progress } => {
                self.change_replay(*replay, |held| held.ended = Some((*at, *progress)));
                self.forget_replays();
            }
            // It changes nothing but what is known of it.
            FactBody::SecretRevealed { .. } => {}
        }
        self.sequence = sequence;
    }

    /// The snapshot that the other parts work by.
    pub fn rules(&self, vault: &BTreeMap<SecretId, Secret>) -> Rules {
        let bytes = |secret: &SecretRef| Some((secret.id, vault.get(&secret.id)?.clone()));
        let of_sources = self.sources.values().flat_map(|source| &source.secrets);
        let of_subscriptions = self.subscriptions.values().flat_map(|s| s.all_secrets());
        let by_digest = |key: &Arc<ApiKey>| (key.token_sha256.clone(), Arc::clone(key));
        Rules {
            sequence: self.sequence,
            subscribers: self.subscribers.clone(),
            event_types: self.event_types.clone(),
            sources: self.sources.clone(),
            subscriptions: self.subscriptions.clone(),
            backoffs: self.backoffs.values().cloned().collect(),
            schemas: self.schemas.clone(),
            keys: self.keys.values().map(by_digest).collect(),
            users: self.users.clone(),
            token_keys: self.token_keys.clone(),
            settings: self.settings.clone(),
            secrets: of_sources.chain(of_subscriptions).filter_map(bytes).collect(),
            stamp_keys: self.stamp_keys.iter().filter_map(bytes).collect(),
        }
    }

    /// Could an event match other lanes after this fact than before it?
    fn changes_match(&self, body: &FactBody) -> bool {
        match body {
            FactBody::SubscriptionCreated(_)
            | FactBody::SubscriptionRemoved { .. }
            | FactBody::EventTypePut(_)
            | FactBody::EventTypeRemoved { .. }
            | FactBody::SourceRemoved { .. } => true,
            FactBody::SubscriptionChanged { number, spec, .. } => {
                self.subscriptions.get(number).is_none_or(|old| {
                    let old = &old.spec;
                    (&old.events, old.priority, &old.subscriber)
                        != (&spec.events, spec.priority, &spec.subscriber)
                })
            }
            FactBody::SourcePut(source) => self.sources.get(&source.spec.name).is_none_or(|old| {
                (old.spec.priority, &old.spec.subscriber)
                    != (source.spec.priority, &source.spec.subscriber)
            }),
            FactBody::EventAccepted { .. }
            | FactBody::EventQuarantined { .. }
            | FactBody::AttemptRecorded { .. }
            | FactBody::DeliveryResent { .. }
            | FactBody::DeliveryCancelled { .. }
            | FactBody::QuarantineReleased { .. }
            | FactBody::EventCarried { .. }
            | FactBody::DeliveryCarried { .. }
            | FactBody::DeliveryAbandoned { .. }
            | FactBody::PayloadRemoved { .. }
            | FactBody::FormatRaised { .. }
            | FactBody::BucketClosed { .. }
            | FactBody::SecretStored(_)
            | FactBody::SecretErased { .. }
            | FactBody::StampKeyCreated(_)
            | FactBody::KeyIssued(_)
            | FactBody::KeyRevoked { .. }
            | FactBody::SubscriberPut(_)
            | FactBody::SubscriberRemoved { .. }
            | FactBody::BackoffPut(_)
            | FactBody::BackoffRemoved { .. }
            | FactBody::SchemaPublished(_)
            | FactBody::SubscriptionStatusChanged { .. }
            | FactBody::SubscriptionCleared { .. }
            | FactBody::ObjectManaged(_)
            | FactBody::SchemaRemoved { .. }
            | FactBody::UserCreated(_)
            | FactBody::UserRolesSet { .. }
            | FactBody::UserPasswordSet { .. }
            | FactBody::UserDisabled { .. }
            | FactBody::UserRemoved { .. }
            | FactBody::TokenKeyCreated(_)
            | FactBody::TokenKeyForgotten { .. }
            | FactBody::SecretRevealed { .. }
            | FactBody::ConfigSet { .. }
            | FactBody::BreakerOpened { .. }
            | FactBody::BreakerClosed { .. }
            | FactBody::DeliveriesSkipped { .. }
            | FactBody::LossAccepted { .. }
            | FactBody::BucketRetired { .. }
            | FactBody::BucketDropped { .. }
            | FactBody::ErasureOrdered { .. }
            | FactBody::ErasureDone { .. }
            | FactBody::DeliveriesMade { .. }
            | FactBody::ReplayAdvanced { .. }
            | FactBody::ReplayStarted(_)
            | FactBody::ReplayCancelled { .. }
            | FactBody::ReplayEnded { .. } => false,
        }
    }
}

/// What a manifest can name, a manifest can also lose: with an object goes the mark on it.
impl State {
    fn remove_subscriber(&mut self, id: &str) {
        self.subscribers.remove(id);
        self.managed.remove(&Target::Subscriber(id.to_owned()));
    }

    fn remove_event_type(&mut self, uri: &EventUri) {
        self.event_types.remove(uri);
        self.managed.remove(&Target::EventType(uri.clone()));
    }

    fn remove_source(&mut self, name: &str) {
        self.sources.remove(name);
        self.managed.remove(&Target::Source(name.to_owned()));
    }

    fn put_backoff(&mut self, rule: &BackoffRule) {
        let key = (rule.target.clone(), rule.direction);
        self.backoffs.insert(key, Arc::new(rule.clone()));
    }

    fn remove_backoff(&mut self, target: &BackoffTarget, direction: Direction) {
        self.backoffs.remove(&(target.clone(), direction));
        self.managed.remove(&Target::Backoff(target.clone(), direction));
    }

    fn publish_schema(&mut self, version: &SchemaVersion) {
        let versions = self.schema_versions.entry(version.uri.clone()).or_default();
        Arc::make_mut(versions).push(version.clone());
        self.schemas.insert(version.uri.clone(), Arc::new(version.clone()));
    }

    fn remove_schema(&mut self, uri: &EventUri) {
        self.schemas.remove(uri);
        self.managed.remove(&Target::Schema(uri.clone()));
    }

    fn drop_bucket(&mut self, bucket: Bucket, gone: &Stats) {
        self.dropped = Dropped { bucket: Some(bucket), last: self.last_of(Some(bucket)) };
        self.gone = self.gone.plus(gone);
    }

    fn create(&mut self, subscription: &Subscription) {
        let number = subscription.number;
        self.last_number = self.last_number.max(number);
        self.subscription_names.insert(subscription.spec.name.clone(), number);
        self.subscriptions.insert(number, Arc::new(subscription.clone()));
    }

    fn change(&mut self, number: SubscriptionNumber, change: impl FnOnce(&mut Subscription)) {
        if let Some(subscription) = self.subscriptions.get_mut(&number) {
            change(Arc::make_mut(subscription));
        }
    }

    fn remove_subscription(&mut self, number: SubscriptionNumber) {
        if let Some(subscription) = self.subscriptions.remove(&number) {
            let name = subscription.spec.name.clone();
            self.subscription_names.remove(&name);
            self.managed.remove(&Target::Subscription(name));
        }
        self.skipping.remove(&number);
        self.clearing.insert(number);
    }
}

impl State {
    /// Replays that are not over, the oldest first.
    pub fn running_replays(&self) -> impl Iterator<Item = &Arc<HeldReplay>> {
        self.replays.values().filter(|held| held.ended.is_none())
    }

    fn change_replay(&mut self, id: ReplayId, change: impl FnOnce(&mut HeldReplay)) {
        if let Some(held) = self.replays.get_mut(&id) {
            change(Arc::make_mut(held));
        }
    }

    /// Of those that are over, the newest stay.
    fn forget_replays(&mut self) {
        let over: Vec<_> = self
            .replays
            .iter()
            .filter(|(_, held)| held.ended.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in over.iter().take(over.len().saturating_sub(REPLAYS_KEPT_MAX)) {
            self.replays.remove(id);
        }
    }
}

/// Who may come in. What ends the tokens of a user raises its epoch.
impl State {
    fn issue_key(&mut self, key: &ApiKey) {
        self.keys.insert(key.id, Arc::new(key.clone()));
    }

    fn create_user(&mut self, user: &User) {
        self.users.insert(user.id, Arc::new(user.clone()));
    }

    fn set_roles(&mut self, id: UserId, roles: &Roles) {
        self.change_user(id, |user| user.roles = roles.clone());
    }

    fn set_password(&mut self, id: UserId, password: &SecretRef) {
        self.change_user(id, |user| {
            user.password = password.clone();
            user.epoch += 1;
        });
    }

    fn set_disabled(&mut self, id: UserId, disabled: bool) {
        self.change_user(id, |user| {
            user.disabled = disabled;
            user.epoch += 1;
        });
    }

    fn change_user(&mut self, id: UserId, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.get_mut(&id) {
            change(Arc::make_mut(user));
        }
    }
}
