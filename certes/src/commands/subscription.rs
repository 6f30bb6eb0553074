//! `certes subscription`: looks at subscriptions, pauses and resumes them, tries them.

mod matching;

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use contract::{
    backoff::Span, broker::TestFired, command::Command, sending::SignatureScheme,
    subscription::SubscriptionStatus, uri::EventUri,
};
use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

/// `certes subscription ...`
#[derive(Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// List subscriptions
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop delivering; deliveries are kept
    Pause {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Deliver again, beginning with what was kept
    Resume {
        /// Its name
        name: String,
        /// Take back what was kept, instead
        #[arg(long)]
        skip: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Say whether it would get an event, and why; nothing is sent
    Test(matching::Test),
    /// Send it a delivery as if an event had come, marked as a test, and say how it answered
    TestFire {
        /// Its name
        name: String,
        /// Of this type, as in github/1/push [default: the first with a schema that it gets]
        #[arg(long, value_name = "TYPE")]
        event: Option<EventUri>,
        /// The payload; `-` reads standard input [default: the schema's example]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Media type of the payload
        #[arg(long, value_name = "TYPE", default_value = "application/json")]
        content_type: String,
        /// How long to wait for the first attempt, in seconds; 20 is the most
        #[arg(long, value_name = "S", default_value_t = 10)]
        wait: u64,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Sign its deliveries with a new secret, which is shown; the one before it goes on signing
    /// beside it for a while
    RotateSecret {
        /// Its name
        name: String,
        /// How long the one before it goes on signing, as in 36h; at most 90d
        #[arg(long, default_value = "24h", conflicts_with = "forget")]
        keep: Span,
        /// Let the secrets so far sign no more
        #[arg(long)]
        forget: bool,
        /// What the new one signs: v1, by a secret, or v1a, by a key of which the public half is shown
        #[arg(long, default_value = "v1")]
        scheme: SignatureScheme,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the public keys by which its receiver verifies `v1a`, and where they are published
    PublicKeys {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the secret that signs its deliveries; that it was shown is recorded
    RevealSecret {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes subscription`.
pub async fn run(command: SubscriptionCommand) -> Result<()> {
    let (name, status, server) = match command {
        SubscriptionCommand::List { server } => {
            let found = Remote::find(&server).await?.subscriptions().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|subscription| {
                let spec = &subscription.spec;
                let events: Vec<_> = spec.events.iter().map(ToString::to_string).collect();
                vec![
                    spec.name.clone(),
                    match subscription.breaker {
                        Some(breaker) => {
                            format!("{}, held since {}", subscription.status, breaker.since)
                        }
                        None => subscription.status.to_string(),
                    },
                    spec.priority.map(|priority| priority.to_string()).unwrap_or_default(),
                    spec.subscriber.clone().unwrap_or_default(),
                    if spec.pull { "(pull)".to_owned() } else { spec.url.clone() },
                    events.join(" "),
                ]
            });
            let headings = ["name", "status", "priority", "subscriber", "url", "events"];
            return output::table(&headings, rows);
        }
        SubscriptionCommand::Test(test) => return matching::run(test).await,
        SubscriptionCommand::TestFire { name, event, file, content_type, wait, server } => {
            let payload = match file {
                None => None,
                Some(file) => Some((read(&file)?, content_type)),
            };
            let remote = Remote::find(&server).await?;
            let wait = Duration::from_secs(wait);
            let fired = remote.test_fire(&name, event, payload, wait).await?;
            return if server.json { output::json(&fired) } else { show_test(&name, &fired) };
        }
        SubscriptionCommand::RotateSecret { name, keep, forget, scheme, server } => {
            let keep = Some(if forget { Span(Duration::ZERO) } else { keep });
            return show_secret(Command::RotateSecret { name, scheme, keep }, &server).await;
        }
        SubscriptionCommand::PublicKeys { name, server } => {
            return show_public(&name, &server).await;
        }
        SubscriptionCommand::RevealSecret { name, server } => {
            return show_secret(Command::RevealSecret { name }, &server).await;
        }
        SubscriptionCommand::Pause { name, server } => (name, SubscriptionStatus::Paused, server),
        SubscriptionCommand::Resume { name, skip: true, server } => {
            let command = Command::ResumeSkipping { name };
            let change = Remote::find(&server).await?.execute_one(command).await?;
            return match server.json {
                true => output::json(&change),
                false => output::line(&format!("{} skips what waits for it", change.name)),
            };
        }
        SubscriptionCommand::Resume { name, skip: false, server } => {
            (name, SubscriptionStatus::Active, server)
        }
    };
    let command = Command::SetSubscriptionStatus { name, status, reason: None };
    let change = Remote::find(&server).await?.execute_one(command).await?;
    match server.json {
        true => output::json(&change),
        false => output::line(&format!("{} is {status}", change.name)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Fails if the endpoint did.
fn show_test(name: &str, fired: &TestFired) -> Result<()> {
    let TestFired { uri, payload_of, delivery } = fired;
    let payload = payload_of.as_str();
    output::line(&format!("sent {uri} (payload: {payload}) to {name} as {}", delivery.id))?;
    let Some(attempt) = delivery.attempts.last() else {
        return output::line(&format!(
            "no attempt yet; look at it by `certes delivery get {}`",
            delivery.id
        ));
    };
    let status = attempt.status.map(|status| format!("{status} ")).unwrap_or_default();
    let took = attempt.duration_ms;
    match (&attempt.cause, &attempt.error) {
        (None, _) => output::line(&format!("{status}after {took} ms: it was delivered")),
        (Some(cause), error) => {
            let error = error.as_deref().unwrap_or_default();
            bail!(
                "{status}after {took} ms: {cause}: {error}; {} is {}",
                delivery.id,
                delivery.state
            )
        }
    }
}

async fn show_public(name: &str, server: &ServerArgs) -> Result<()> {
    let all = Remote::find(server).await?.subscriptions().await?;
    let found = all.into_iter().find(|subscription| subscription.spec.name == name);
    let found = found.with_context(|| format!("there is no subscription `{name}`"))?;
    let keys: Vec<_> =
        found.secrets.iter().filter_map(|secret| secret.public_key.as_deref()).collect();
    if keys.is_empty() {
        let how = format!("`certes subscription rotate-secret {name} --scheme v1a` makes one");
        bail!("`{name}` has no key that signs v1a; {how}");
    }
    let path = format!("/.well-known/webhook-keys/{}", found.id);
    if server.json {
        return output::json(&serde_json::json!({ "keys": keys, "path": path }));
    }
    keys.into_iter().try_for_each(output::line)?;
    output::line(&format!("published at {path}"))
}

async fn show_secret(command: Command, server: &ServerArgs) -> Result<()> {
    let change = Remote::find(server).await?.execute_one(command).await?;
    if server.json {
        return output::json(&change);
    }
    let secret = change.revealed.context("the server showed no secret")?;
    // Exposed to whoever asked for it.
    output::line(secret.expose())
}
