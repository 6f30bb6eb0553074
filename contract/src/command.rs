//! Commands that change the configuration, and what they changed.

use crate::{
    access::Roles,
    backoff::{BackoffRule, BackoffTarget, Span},
    clock::Timestamp,
    event::Direction,
    id::KeyId,
    schema::SchemaVersion,
    secret::Secret,
    source::SourceSpec,
    subscription::{EventType, Subscriber, SubscriptionSpec, SubscriptionStatus},
    uri::EventUri,
};
use serde::{Deserialize, Serialize};

/// One change that somebody wants. `Put` creates or changes, and does nothing when the object is
/// as wanted already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A subscriber, by id.
    PutSubscriber(Subscriber),
    /// Defaults of an event type, by URI.
    PutEventType(EventType),
    /// A source, by name. No secrets given: it keeps those it has.
    PutSource {
        /// What is declared.
        spec: SourceSpec,
        /// Its secrets.
        secrets: Vec<Secret>,
    },
    /// A back-off rule, by target and direction.
    PutBackoff(BackoffRule),
    /// A subscription, by name. No secrets given: it keeps those it has, and a new one gets one
    /// that is shown once.
    PutSubscription {
        /// What is declared.
        spec: SubscriptionSpec,
        /// Its signing secrets, the newest first.
        secrets: Vec<Secret>,
    },
    /// Pause, resume or disable a subscription.
    SetSubscriptionStatus {
        /// Its name.
        name: String,
        /// The new status.
        status: SubscriptionStatus,
        /// Why.
        reason: Option<String>,
    },
    /// Resume a subscription without what waits for it: that is taken back first.
    ResumeSkipping {
        /// Its name.
        name: String,
    },
    /// A version of a schema whose bundle is in the schema store.
    PublishSchema(SchemaVersion),
    /// A new API key.
    IssueKey {
        /// A name for people.
        name: String,
        /// What it may do.
        roles: Roles,
        /// Sees this subscriber only.
        subscriber: Option<String>,
        /// When it stops working.
        expires_at: Option<Timestamp>,
    },
    /// An API key that works no more.
    RevokeKey(KeyId),
    /// Remove something.
    Remove(Target),
    /// A new user.
    CreateUser {
        /// The name to log in with.
        name: String,
        /// The password. Master API replaces it by its hash before anything is decided.
        password: Secret,
        /// What it may do.
        roles: Roles,
        /// Sees this subscriber only.
        subscriber: Option<String>,
    },
    /// Other roles for a user.
    SetUserRoles {
        /// Its name.
        name: String,
        /// What it may do from now on.
        roles: Roles,
    },
    /// Another password for a user. Its tokens are refused from then on.
    SetPassword {
        /// Its name.
        name: String,
        /// The password. Master API replaces it by its hash before anything is decided.
        password: Secret,
    },
    /// Disable a user or enable it again. Its tokens are refused from then on.
    SetUserDisabled {
        /// Its name.
        name: String,
        /// Shall it be disabled?
        disabled: bool,
    },
    /// Remove a user, by name.
    RemoveUser(String),
    /// Sign the tokens of users with a new key. What the old ones signed stays valid for its
    /// time, unless they are to be forgotten.
    RotateTokenKey {
        /// Refuse all that was signed so far.
        forget: bool,
    },
    /// Sign a subscription's deliveries with a new secret, which is shown once. Those so far sign
    /// beside it for a while, and then no more.
    RotateSecret {
        /// Name of the subscription.
        name: String,
        /// How long the secret so far goes on signing; None:
        /// [`crate::limits::SECRET_KEPT_DEFAULT`], zero: not at all.
        keep: Option<Span>,
    },
    /// Show the secret that signs a subscription's deliveries; that it was shown is recorded.
    RevealSecret {
        /// Name of the subscription.
        name: String,
    },
    /// Stamp events with a new key. Old stamps still verify.
    RotateStampKey,
    /// Change a setting ([`crate::setting`]).
    SetSetting {
        /// Its name.
        key: String,
        /// Its value as a text; None: as the configuration says.
        value: Option<String>,
        /// The version that it has, 0 if it was never set; `conflict` if it is another one. None:
        /// whichever.
        expect: Option<u64>,
    },
    /// What a subscriber's code wants: each subscription is made or changed as with
    /// [`Self::PutSubscription`]. Does nothing when all is as wanted already.
    EnsureSubscriptions {
        /// Whose they are; None: our own. Those of others are never touched.
        subscriber: Option<String>,
        /// What is declared.
        subscriptions: Vec<DeclaredSubscription>,
        /// Remove the subscriber's other subscriptions. Not for our own: those are for a manifest.
        prune: bool,
    },
}

/// A subscription as a subscriber's code declares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeclaredSubscription {
    /// What is declared. No subscriber: the one whose code it is.
    pub spec: SubscriptionSpec,
    /// Its signing secrets, the newest first. None given: it keeps those it has, and a new one gets
    /// one that is shown once.
    pub secrets: Vec<Secret>,
}

/// What a [`Command::Remove`] removes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A subscriber, by id. Refused while it has subscriptions.
    Subscriber(String),
    /// Defaults of an event type.
    EventType(EventUri),
    /// A source, by name.
    Source(String),
    /// A back-off rule.
    Backoff(BackoffTarget, Direction),
    /// A subscription, by name. Its waiting deliveries are cancelled.
    Subscription(String),
    /// A schema: one major of a type. Refused while subscriptions need it.
    Schema(EventUri),
}

/// What a put expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Anything: it creates or changes.
    #[default]
    Put,
    /// Nothing: `conflict` when the object is there.
    Create,
    /// The object: `not_found` when it is not there.
    Update,
}

/// Commands that take effect together or not at all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Changeset {
    /// In this order.
    pub commands: Vec<Command>,
    /// Only say what would change.
    pub dry_run: bool,
    /// The commands are a whole manifest: mark what they put as managed by it.
    pub managed: bool,
    /// Remove what an earlier managed changeset put and this one does not name.
    pub prune: bool,
    /// What its puts expect to find.
    #[serde(default)]
    pub mode: Mode,
    /// The subscriber on whose behalf it is carried out: it touches that subscriber's
    /// subscriptions and nothing else. Checked where it is decided, so that no race gets by.
    #[serde(default)]
    pub acting_for: Option<String>,
    /// Given again by the same caller within [`crate::limits::IDEMPOTENCY_HOURS`], the first answer
    /// is given again, without secrets, and nothing is changed. Other changes under the same key
    /// are an `idempotency_conflict`. What was refused may be tried again.
    #[serde(default)]
    pub idempotency_key: Option<String>,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It was there and is different now.
    Changed,
    /// It was as wanted.
    Unchanged,
    /// It is gone.
    Removed,
}

impl std::fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
        })
    }
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Created, changed, ...
    pub kind: ChangeKind,
    /// `subscriber`, `event_type`, `source`, `backoff`, `subscription`, `schema`, `key`,
    /// `user`, `token_key`, `stamp_key`, `setting`.
    pub noun: String,
    /// Id, URI or name.
    pub name: String,
    /// A secret or token that was made and is shown this once.
    pub revealed: Option<Secret>,
    /// Id of the object where it has one (`sub_...`, `key_...`); of a setting its version.
    pub id: Option<String>,
}
