//! `certes user`: those who log in with a name and a password.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use contract::{access::Roles, command::Command, secret::Secret};
use std::{io::IsTerminal, path::PathBuf};

/// `certes user ...`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user
    Create {
        /// The name to log in with
        name: String,
        /// producer, admin, or NOUN:read|write with NOUN one of subscriptions, events, backoffs,
        /// config, schemas, sources, users, keys; may be given several times
        #[arg(long = "role", required = true, value_delimiter = ',')]
        roles: Vec<String>,
        /// Let it see this subscriber only
        #[arg(long)]
        subscriber: Option<String>,
        /// Password.
        #[command(flatten)]
        password: PasswordArgs,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List users
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give a user other roles
    Roles {
        /// Its name
        name: String,
        /// All roles that it shall have
        #[arg(long = "role", required = true, value_delimiter = ',')]
        roles: Vec<String>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give a user another password; its logins end
    Passwd {
        /// Its name
        name: String,
        /// Password.
        #[command(flatten)]
        password: PasswordArgs,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a user log in no more; its logins end
    Disable {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a user log in again
    Enable {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Remove a user
    Delete {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Where a password comes from: never from the arguments, which everybody on the machine can read.
#[derive(Debug, Clone, Args)]
pub struct PasswordArgs {
    /// File with the password; or the variable CERTES_PASSWORD holds it [default: it is asked for]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The password itself; only as a variable
    #[arg(
        long = "password-from-environment",
        env = "CERTES_PASSWORD",
        hide = true,
        hide_env_values = true
    )]
    pub password: Option<String>,
}

impl PasswordArgs {
    /// The password; one that is new is asked for twice.
    pub fn read(&self, new: bool) -> Result<Secret> {
        if let Some(file) = &self.password_file {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            return Ok(Secret::new(text.trim_end_matches(['\r', '\n'])));
        }
        if let Some(password) = &self.password {
            return Ok(Secret::new(password));
        }
        if !std::io::stdin().is_terminal() {
            bail!(Misuse::new("give --password-file or set CERTES_PASSWORD"));
        }
        let password = Secret::new(rpassword::prompt_password("password: ")?);
        if new && password != Secret::new(rpassword::prompt_password("again: ")?) {
            bail!(Misuse::new("these are two passwords"));
        }
        Ok(password)
    }
}

/// Runs `certes user`.
pub async fn run(command: UserCommand) -> Result<()> {
    let (command, server, done) = match command {
        UserCommand::List { server } => return list(&server).await,
        UserCommand::Create { name, roles, subscriber, password, server } => {
            let (roles, password) = (parse(&roles)?, password.read(true)?);
            (Command::CreateUser { name, password, roles, subscriber }, server, "can log in")
        }
        UserCommand::Roles { name, roles, server } => {
            (Command::SetUserRoles { name, roles: parse(&roles)? }, server, "has these roles")
        }
        UserCommand::Passwd { name, password, server } => {
            let password = password.read(true)?;
            (Command::SetPassword { name, password }, server, "has a new password")
        }
        UserCommand::Disable { name, server } => {
            (Command::SetUserDisabled { name, disabled: true }, server, "is disabled")
        }
        UserCommand::Enable { name, server } => {
            (Command::SetUserDisabled { name, disabled: false }, server, "can log in again")
        }
        UserCommand::Delete { name, server } => (Command::RemoveUser(name), server, "is gone"),
    };
    let change = Remote::find(&server).await?.execute_one(command).await?;
    match server.json {
        true => output::json(&change),
        false => output::line(&format!("{} {done}", change.name)),
    }
}

fn parse(roles: &[String]) -> Result<Roles> {
    Ok(Roles::parse(roles.iter().map(String::as_str)).map_err(Misuse::new)?)
}

async fn list(server: &ServerArgs) -> Result<()> {
    let found = Remote::find(server).await?.users().await?;
    if server.json {
        return output::json(&found);
    }
    let rows = found.into_iter().map(|user| {
        let disabled = if user.disabled { "disabled" } else { "" };
        let subscriber = user.subscriber.unwrap_or_default();
        vec![user.id, user.name, user.roles.join(" "), subscriber, disabled.to_owned()]
    });
    output::table(&["id", "name", "roles", "subscriber", ""], rows)
}
