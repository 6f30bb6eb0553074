//! Who asks, what they may, and how a refusal looks.

use async_graphql::{Context, ErrorExtensions, ServerError};
use contract::{
    Error, ErrorCode,
    access::{Access, Actor, Noun, Principal},
    broker::EventBroker,
    master_api::MasterApi,
    registry::SchemaRegistry,
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

/// A request that is refused before it is carried out.
pub fn refusal(message: impl Into<String>) -> ServerError {
    let mut refusal = ServerError::new(message, None);
    code(&mut refusal, ErrorCode::InvalidRequest);
    refusal
}

/// Gives a code to an error that has none: those of the library, about what was asked.
pub(super) fn coded(error: &mut ServerError) {
    let known = error.extensions.as_ref().is_some_and(|known| known.get("code").is_some());
    if known {
        return;
    }
    // What was found instead of what was expected may be a secret in the wrong place.
    if let Some(end) = error.message.find(", found ") {
        error.message.truncate(end);
    }
    code(error, ErrorCode::InvalidRequest);
}

/// Sets the code of an error.
pub fn code(error: &mut ServerError, code: ErrorCode) {
    error.extensions.get_or_insert_default().set("code", code.as_str());
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

/// There is none of that name.
pub(super) fn missing(noun: &str, name: &str) -> async_graphql::Error {
    error(&Error::new(ErrorCode::NotFound, format!("no {noun} `{name}`")))
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
            let message = format!("{} sees only `{subscriber}`", principal.title());
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
    principal.actor.clone()
}

/// The ports.
pub(super) fn master_api<'a>(context: &Context<'a>) -> Result<&'a Arc<dyn MasterApi>> {
    context.data::<Arc<dyn MasterApi>>()
}

/// The schema registry.
pub(super) fn registry<'a>(context: &Context<'a>) -> Result<&'a Arc<dyn SchemaRegistry>> {
    context.data::<Option<Arc<dyn SchemaRegistry>>>()?.as_ref().ok_or_else(|| {
        let message = "this process does not know the schema registry: ask a gateway";
        error(&Error::new(ErrorCode::Unavailable, message))
    })
}

/// The broker. Errors: `unavailable` where there is none.
pub(super) fn broker<'a>(context: &Context<'a>) -> Result<&'a Arc<dyn EventBroker>> {
    context.data::<Option<Arc<dyn EventBroker>>>()?.as_ref().ok_or_else(|| {
        let message = "there is no broker behind this door; ask a gateway";
        error(&Error::new(ErrorCode::Unavailable, message))
    })
}

/// The rules in force.
pub(super) fn rules(context: &Context<'_>) -> Result<Arc<Rules>> {
    Ok(master_api(context)?.rules().borrow().clone())
}
