//! Who asks, what they may, and how a refusal looks.

use async_graphql::{Context, ErrorExtensions};
use contract::{
    Error, ErrorCode,
    access::{Access, Actor, Noun, Principal},
    broker::EventBroker,
    master_api::MasterApi,
    rules::Rules,
    subscription::Subscription,
};
use std::sync::Arc;

/// Result of every resolver.
pub(super) type Result<T> = async_graphql::Result<T>;

/// A port's error as GraphQL shows it: its sentence, and `extensions.code`.
pub fn error(error: &Error) -> async_graphql::Error {
    let shown = match error.code {
        ErrorCode::Internal => {
            tracing::error!(%error, "a query failed");
            async_graphql::Error::new("an error of the server's own; its log says more")
        }
        _ => async_graphql::Error::new(&error.message),
    };
    shown.extend_with(|_, extensions| {
        extensions.set("code", error.code.as_str());
        if !error.violations.is_empty()
            && let Ok(json) = serde_json::to_value(&error.violations)
            && let Ok(value) = async_graphql::Value::from_json(json)
        {
            extensions.set("errors", value);
        }
    })
}

/// Turns a port's result into a resolver's.
pub(super) trait OrShow<T> {
    /// The value, or the error as GraphQL shows it.
    fn or_show(self) -> Result<T>;
}

impl<T> OrShow<T> for contract::Result<T> {
    fn or_show(self) -> Result<T> {
        self.map_err(|refusal| error(&refusal))
    }
}

/// A malformed argument.
pub(super) fn invalid(message: impl Into<String>) -> async_graphql::Error {
    error(&Error::new(ErrorCode::InvalidRequest, message))
}

/// The caller, if its roles allow `access` to `noun`.
pub(super) fn allowed<'a>(
    context: &Context<'a>,
    noun: Noun,
    access: Access,
) -> Result<&'a Principal> {
    let missing = |_none| error(&Error::new(ErrorCode::Unauthenticated, "a key is needed"));
    let principal = context.data::<Principal>().map_err(missing)?;
    principal.require(noun, access).or_show()?;
    Ok(principal)
}

/// The caller, who may see everybody's: a key of one subscriber may not.
pub(super) fn allowed_everywhere<'a>(
    context: &Context<'a>,
    noun: Noun,
    access: Access,
) -> Result<&'a Principal> {
    let principal = allowed(context, noun, access)?;
    match &principal.subscriber {
        None => Ok(principal),
        Some(subscriber) => {
            let message = format!("the key `{}` sees only `{subscriber}`", principal.name);
            Err(error(&Error::new(ErrorCode::PermissionDenied, message)))
        }
    }
}

/// May the caller see this subscription?
pub(super) fn sees(principal: &Principal, subscription: &Subscription) -> bool {
    principal.subscriber.is_none() || principal.subscriber == subscription.spec.subscriber
}

/// As whom the caller's changes are recorded.
pub(super) fn actor(principal: &Principal) -> Actor {
    Actor::Key(principal.key)
}

/// The ports.
pub(super) fn master_api<'a>(context: &Context<'a>) -> Result<&'a Arc<dyn MasterApi>> {
    context.data::<Arc<dyn MasterApi>>()
}

/// The broker. Errors: `unavailable` where there is none.
pub(super) fn broker<'a>(context: &Context<'a>) -> Result<&'a Arc<dyn EventBroker>> {
    context.data::<Arc<dyn EventBroker>>().map_err(|_none| {
        let message = "there is no broker behind this door; ask a gateway";
        error(&Error::new(ErrorCode::Unavailable, message))
    })
}

/// The rules in force.
pub(super) fn rules(context: &Context<'_>) -> Result<Arc<Rules>> {
    Ok(master_api(context)?.rules().borrow().clone())
}
