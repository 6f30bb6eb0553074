//! `certes key`: makes, lists and revokes API keys.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Result, bail};
use clap::Subcommand;
use contract::{
    access::Roles,
    backoff::Span,
    clock::{Clock, SystemClock, Timestamp},
    command::Command,
};

/// `certes key ...`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its token is shown once
    Create {
        /// A name for people
        #[arg(long, default_value = "key")]
        name: String,
        /// producer, admin, or NOUN:read|write with NOUN one of subscriptions, events, backoffs,
        /// config, schemas, sources, users, keys; may be given several times
        #[arg(long = "role", required = true, value_delimiter = ',')]
        roles: Vec<String>,
        /// Let it see this subscriber only
        #[arg(long)]
        subscriber: Option<String>,
        /// When it stops working, from now, as in 90d
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List keys, without tokens
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a key stop working
    Revoke {
        /// key_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes key`.
pub async fn run(command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Create { name, roles, subscriber, expires_in, server } => {
            let roles = Roles::parse(roles.iter().map(String::as_str)).map_err(Misuse::new)?;
            let lifetime = expires_in.map(|text| text.parse::<Span>()).transpose();
            let lifetime = lifetime.map_err(Misuse::new)?;
            let expires_at = lifetime.map(|span| SystemClock.now().after(span.0));
            let command = Command::IssueKey { name, roles, subscriber, expires_at };
            let change = Remote::find(&server).await?.execute_one(command).await?;
            if server.json {
                return output::json(&change);
            }
            let Some(token) = change.revealed else { bail!("the server showed no token") };
            output::line(token.expose())
        }
        KeyCommand::List { server } => {
            let found = Remote::find(&server).await?.keys().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|key| {
                let shown =
                    |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
                let (expires, used) = (shown(key.expires_at), shown(key.last_used_at));
                let subscriber = key.subscriber.clone().unwrap_or_default();
                let begins = format!("{}...", key.prefix);
                let (id, name) = (key.id.clone(), key.name.clone());
                vec![id, name, begins, key.roles.join(" "), subscriber, expires, used]
            });
            let headings = ["id", "name", "token", "roles", "subscriber", "expires", "last used"];
            output::table(&headings, rows)
        }
        KeyCommand::Revoke { id, server } => {
            let command = Command::RevokeKey(id.parse()?);
            let change = Remote::find(&server).await?.execute_one(command).await?;
            output::line(&format!("{} works no more", change.name))
        }
    }
}
