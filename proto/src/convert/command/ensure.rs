//! What a subscriber's code declares.

use super::{exposed, secrets_from};
use crate::{
    convert::{Malformed, each, message},
    v1,
};
use contract::{
    command::{Command, DeclaredSubscription},
    subscription::SubscriptionSpec,
};

pub(super) fn wire(
    subscriber: Option<String>,
    subscriptions: Vec<DeclaredSubscription>,
    prune: bool,
) -> v1::EnsureSubscriptions {
    let declared = |DeclaredSubscription { spec, secrets }| v1::PutSubscription {
        spec: Some(spec.into()),
        secrets: exposed(&secrets),
    };
    let subscriptions = subscriptions.into_iter().map(declared).collect();
    v1::EnsureSubscriptions { subscriber, subscriptions, prune }
}

impl TryFrom<v1::EnsureSubscriptions> for Command {
    type Error = Malformed;
    fn try_from(wire: v1::EnsureSubscriptions) -> Result<Self, Malformed> {
        let v1::EnsureSubscriptions { subscriber, subscriptions, prune } = wire;
        let declared = |wire: v1::PutSubscription| {
            let spec = message(wire.spec, "spec", SubscriptionSpec::try_from)?;
            Ok(DeclaredSubscription { spec, secrets: secrets_from(wire.secrets)? })
        };
        let subscriptions = each(subscriptions, "subscriptions", declared)?;
        Ok(Self::EnsureSubscriptions { subscriber, subscriptions, prune })
    }
}
