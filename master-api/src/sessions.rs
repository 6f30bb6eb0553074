//! Letting users in: a token for a password, and another one for a token.

use crate::{
    config::Config,
    expressions,
    once::Once,
    password::Passwords,
    prepare::PreparedChanges,
    service::MasterApi,
    throttle::{Throttle, counted},
    token_key::{self, NewTokenKey},
};
use contract::{
    Error, ErrorCode, Result,
    access::{Actor, Session, User},
    authenticate::unknown,
    clock::Timestamp,
    command::{Changeset, Command},
    limits::NAME_LENGTH_MAX,
    master_api::Configuration,
    random::Random,
    secret::Secret,
};
use identity::session;
use std::{net::IpAddr, sync::Arc};
use tokio::sync::Mutex;

/// What is needed to let users in.
pub struct Sessions {
    passwords: Passwords,
    by_name: Throttle<String>,
    by_address: Throttle<IpAddr>,
    /// Held while a key is made, so that many who come at once make one.
    pub(crate) making: Mutex<()>,
}

impl Sessions {
    pub fn new(config: &Config, random: Arc<dyn Random>) -> Self {
        Self {
            passwords: Passwords::new(random, config.password_checks_max, config.queue_wait.0),
            by_name: Throttle::new(config.login_tries_per_minute, config.login_wait_max.0),
            by_address: Throttle::new(
                config.login_tries_per_minute_and_address,
                config.login_wait_max.0,
            ),
            making: Mutex::new(()),
        }
    }
}

impl MasterApi {
    /// A token for a name and a password. What is refused takes as long whether there is such a
    /// user or not.
    pub(crate) async fn let_in(
        &self,
        name: &str,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Session> {
        let refuse = || unknown("the name or the password is wrong");
        let tried: String = name.chars().take(NAME_LENGTH_MAX).collect();
        let sessions = &self.sessions;
        let (now, from) = (self.shared.around.clock.now(), from.map(counted));
        let limited = |what| {
            move |after| {
                let message = format!("too many tries {what}");
                Error::new(ErrorCode::RateLimited, message).retry_after(after)
            }
        };
        if let Some(from) = &from {
            sessions.by_address.take(from, now).map_err(limited("from this address"))?;
        }
        sessions.by_name.take(&tried, now).map_err(limited("for this name"))?;
        let before = self.user(name);
        let hash = before.as_ref().and_then(|user| self.bytes(user));
        let right = sessions.passwords.matches(password, hash).await?;
        // Meanwhile it may have been disabled, or have got another password.
        let same = |user: &Arc<User>| before.as_ref().is_some_and(|b| b.password == user.password);
        let user = self.user(name).filter(same).filter(|user| right && !user.disabled);
        let user = user.ok_or_else(refuse)?;
        sessions.by_name.forgive(&tried);
        from.inspect(|from| sessions.by_address.give_back(from));
        self.require_token_key().await?;
        let now = self.shared.around.clock.now();
        self.give(&user, now, now.unix_seconds())
    }

    /// Another token for the holder of one that is still good.
    pub(crate) async fn renew(&self, token: &Secret) -> Result<Session> {
        let now = self.shared.around.clock.now();
        let rules = self.shared.rules.borrow().clone();
        let (id, _, since) = session::check(token, &rules, now)?;
        let ends =
            Timestamp(since.saturating_mul(1_000_000)).after(self.shared.config.session_max.0);
        let user = rules.users.get(&id).filter(|_| now < ends);
        let user = user.ok_or_else(|| unknown("the password has to be given again: log in"))?;
        self.require_token_key().await?;
        self.give(user, now, since)
    }

    fn give(&self, user: &User, now: Timestamp, since: i64) -> Result<Session> {
        let (state, vault) = (self.shared.state.load(), self.shared.vault.load());
        let key = state.token_keys.last().map(|key| key.id);
        let key = key.and_then(|id| Some((id, vault.get(&id)?)));
        let (id, private) = key.ok_or_else(|| Error::internal("there is no token key"))?;
        let der = token_key::private_der(private)?;
        let lifetime = self.shared.config.token_lifetime.0;
        session::give(user, (now, since), lifetime, (id, &der))
    }

    /// The first login of a deployment makes the key.
    async fn require_token_key(&self) -> Result<()> {
        let missing = || self.shared.state.load().token_keys.is_empty();
        if !missing() {
            return Ok(());
        }
        let _making = self.sessions.making.lock().await;
        if missing() {
            let commands = vec![Command::RotateTokenKey { forget: false }];
            let changes = Changeset { commands, ..Changeset::default() };
            self.execute(Actor::Component("master-api".to_owned()), changes).await?;
        }
        Ok(())
    }

    /// Does what takes time and dice before the writer decides: expressions are compiled, passwords
    /// become hashes, and a key is made if one is wanted.
    pub(crate) async fn prepare_changes(
        &self,
        actor: &Actor,
        changes: Changeset,
    ) -> Result<PreparedChanges> {
        let mut changes = expressions::check(changes).await?;
        // Before passwords become hashes, which are others each time.
        let once = Once::of(actor, &changes)?;
        let mut token_key = None;
        for command in &mut changes.commands {
            match command {
                Command::CreateUser { password, .. } | Command::SetPassword { password, .. } => {
                    let hash = self.sessions.passwords.hash(password.clone()).await?;
                    *password = hash;
                }
                Command::RotateTokenKey { .. } if token_key.is_none() => {
                    token_key = Some(self.make_token_key().await?);
                }
                _ => {}
            }
        }
        Ok(PreparedChanges { changes, token_key, once })
    }

    async fn make_token_key(&self) -> Result<NewTokenKey> {
        let random = Arc::clone(&self.shared.around.random);
        let made = tokio::task::spawn_blocking(move || token_key::generate(&*random)).await;
        made.map_err(Error::internal)?
    }

    fn user(&self, name: &str) -> Option<Arc<User>> {
        let state = self.shared.state.load();
        state.users.values().find(|user| user.name == name).cloned()
    }

    fn bytes(&self, user: &User) -> Option<Secret> {
        self.shared.vault.load().get(&user.password.id).cloned()
    }
}
