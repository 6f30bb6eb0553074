//! Users, who asks, and the keys and secrets that are exchanged for new ones.

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, invalid, master_api, missing, rules},
    budget::{LIST, listed},
    mutation::{SubscriptionPayload, execute, subscription},
    nodes::answerable,
};
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use contract::{
    access::{Access, Noun, Principal, Roles, User},
    backoff::Span,
    command::Command,
    secret::Secret,
    sending::SignatureScheme,
};
use std::{sync::Arc, time::Duration};

/// Somebody who logs in with a name and a password.
#[derive(Debug)]
pub(super) struct UserNode(Arc<User>);

#[Object(name = "User")]
impl UserNode {
    /// `user_...`
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// The name to log in with.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// What it may do.
    async fn roles(&self) -> Vec<String> {
        self.0.roles.names()
    }
    /// Sees this subscriber only.
    async fn subscriber(&self) -> Option<&str> {
        self.0.subscriber.as_deref()
    }
    /// It cannot log in.
    async fn disabled(&self) -> bool {
        self.0.disabled
    }
    /// When it was made, RFC 3339.
    async fn created_at(&self) -> String {
        self.0.created_at.to_string()
    }
}

/// Whoever asks.
#[derive(Debug, SimpleObject)]
pub(super) struct Me {
    /// As whom its changes are recorded.
    actor: String,
    /// The name of its key, or its own.
    name: String,
    /// What it may do.
    roles: Vec<String>,
    /// Sees this subscriber only.
    subscriber: Option<String>,
}

/// A new user.
#[derive(InputObject)]
struct UserInput {
    /// The name to log in with, unique.
    name: String,
    /// 12 bytes or more.
    password: String,
    /// What it may do: role names, `producer` or `admin`. Not more than the caller may.
    roles: Vec<String>,
    /// Let it see this subscriber only.
    subscriber: Option<String>,
}

/// About those who ask.
#[derive(Debug, Default)]
pub(super) struct UserQuery;

#[Object]
impl UserQuery {
    /// Whoever asks this.
    async fn me(&self, context: &Context<'_>) -> Result<Option<Me>> {
        let me = |principal: &Principal| Me {
            actor: principal.actor.to_string(),
            name: principal.name.clone(),
            roles: principal.roles.names(),
            subscriber: principal.subscriber.clone(),
        };
        Ok(context.data_opt::<Principal>().map(me))
    }

    /// Users, by id.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn users(&self, context: &Context<'_>) -> Result<Vec<UserNode>> {
        allowed_everywhere(context, Noun::Users, Access::Read)?;
        let rules = rules(context)?;
        listed(context, rules.users.values(), |user| UserNode(user.clone()))
    }
}

/// Of users, keys and secrets.
#[derive(Debug, Default)]
pub(super) struct UserMutation;

#[Object]
impl UserMutation {
    /// Makes a user.
    async fn create_user(&self, context: &Context<'_>, input: UserInput) -> Result<UserNode> {
        let UserInput { name, password, roles, subscriber } = input;
        let (password, roles) = (Secret::new(password), parse(&roles)?);
        change(context, Command::CreateUser { name, password, roles, subscriber }).await
    }

    /// Gives a user other roles.
    async fn set_user_roles(
        &self,
        context: &Context<'_>,
        name: String,
        roles: Vec<String>,
    ) -> Result<UserNode> {
        change(context, Command::SetUserRoles { name, roles: parse(&roles)? }).await
    }

    /// Gives a user another password. Its tokens work no more.
    async fn set_password(
        &self,
        context: &Context<'_>,
        name: String,
        password: String,
    ) -> Result<UserNode> {
        change(context, Command::SetPassword { name, password: Secret::new(password) }).await
    }

    /// Disables a user, or enables it again. Its tokens work no more.
    async fn set_user_disabled(
        &self,
        context: &Context<'_>,
        name: String,
        disabled: bool,
    ) -> Result<UserNode> {
        change(context, Command::SetUserDisabled { name, disabled }).await
    }

    /// Removes a user.
    async fn delete_user(&self, context: &Context<'_>, name: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Users, Access::Write)?;
        execute(context, principal, Command::RemoveUser(name)).await.map(|_| true)
    }

    /// Signs the tokens of users with a new key; gives its id. With `forget`, all tokens so far
    /// work no more.
    async fn rotate_token_key(
        &self,
        context: &Context<'_>,
        #[graphql(default)] forget: bool,
    ) -> Result<String> {
        let principal = allowed_everywhere(context, Noun::Keys, Access::Write)?;
        let change = execute(context, principal, Command::RotateTokenKey { forget }).await?;
        Ok(change.name)
    }

    /// Signs a subscription's deliveries with a new secret. The one before it goes on signing
    /// beside it for `keep`, as in `36h`: 24 h when it is left out, at most 90 days; with `forget`,
    /// it signs no more. With `scheme: "v1a"` a new key signs, of which the public half is shown; what
    /// signs `v1` stays as it is.
    #[expect(clippy::too_many_arguments, reason = "these are the arguments of the field")]
    async fn rotate_subscription_secret(
        &self,
        context: &Context<'_>,
        name: String,
        keep: Option<String>,
        #[graphql(default)] forget: bool,
        #[graphql(default_with = "\"v1\".to_owned()")] scheme: String,
    ) -> Result<SubscriptionPayload> {
        let scheme = scheme.parse::<SignatureScheme>().map_err(invalid)?;
        let keep = keep.map(|keep| keep.parse::<Span>()).transpose().map_err(invalid)?;
        let keep = if forget { Some(Span(Duration::ZERO)) } else { keep };
        secret(context, Command::RotateSecret { name, scheme, keep }).await
    }

    /// Shows the secret that signs a subscription's deliveries. That it was shown, and to whom, is
    /// recorded.
    async fn reveal_subscription_secret(
        &self,
        context: &Context<'_>,
        name: String,
    ) -> Result<SubscriptionPayload> {
        secret(context, Command::RevealSecret { name }).await
    }

    /// Stamps events with a new key; gives its id. Old stamps still verify.
    async fn rotate_stamp_key(&self, context: &Context<'_>) -> Result<String> {
        let principal = allowed_everywhere(context, Noun::Config, Access::Write)?;
        Ok(execute(context, principal, Command::RotateStampKey).await?.name)
    }

    /// Seals all stored secrets anew, under a new key.
    async fn rotate_secret_key(&self, context: &Context<'_>) -> Result<bool> {
        allowed_everywhere(context, Noun::Config, Access::Write)?;
        master_api(context)?.rotate_secret_key().await.or_show()?;
        Ok(true)
    }
}

fn parse(roles: &[String]) -> Result<Roles> {
    Roles::parse(roles.iter().map(String::as_str)).map_err(invalid)
}

async fn change(context: &Context<'_>, command: Command) -> Result<UserNode> {
    let principal = allowed_everywhere(context, Noun::Users, Access::Write)?;
    let change = execute(context, principal, command).await?;
    let user = rules(context)?.user_named(&change.name).cloned();
    user.map(UserNode).ok_or_else(|| missing("user", &change.name))
}

async fn secret(context: &Context<'_>, command: Command) -> Result<SubscriptionPayload> {
    let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
    answerable(context, &context.look_ahead().field("subscription"))?;
    let change = execute(context, principal, command).await?;
    Ok(SubscriptionPayload {
        subscription: subscription(context, &change)?,
        secret: change.revealed.map(|secret| secret.expose().to_owned()),
    })
}
