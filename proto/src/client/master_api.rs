//! Master API, from all other parts: a channel, and the rules that are kept fresh over it.

use super::Peers;
use crate::{
    status::error,
    v1::internal::{RulesPart, WatchRequest, rules_client::RulesClient},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use contract::{
    Error, ErrorCode, Result,
    rules::{Rules, RulesReceiver},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

/// Largest snapshot of rules in bytes.
const RULES_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A stream of rules that broke is opened again after so long, at first and at most.
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(50);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(2);

/// All ports of Master API over a channel.
#[derive(Clone)]
pub struct RemoteMasterApi {
    pub(super) peers: Peers,
    pub(super) rules: RulesReceiver,
}

impl RemoteMasterApi {
    /// Master API at `peers`, once its rules are here. They are kept fresh until `stop` or until
    /// nobody holds them any more. Errors: `unavailable` if they do not come within `patience`.
    pub async fn connect(
        peers: Peers,
        patience: Duration,
        stop: CancellationToken,
    ) -> Result<Self> {
        let (newest, rules) = watch::channel(Arc::new(Rules::default()));
        let mut first = rules.clone();
        let follower = Follower { peers: peers.clone(), newest, seen: false };
        drop(tokio::spawn(follower.run(stop.child_token())));
        match timeout(patience, first.changed()).await {
            Ok(Ok(())) => Ok(Self { peers, rules }),
            _ => {
                let message = "Master API did not answer; is it there?";
                Err(Error::new(ErrorCode::Unavailable, message))
            }
        }
    }
}

/// Keeps the rules fresh.
struct Follower {
    peers: Peers,
    newest: watch::Sender<Arc<Rules>>,
    seen: bool,
}

impl Follower {
    async fn run(mut self, stop: CancellationToken) {
        let abandoned = self.newest.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = abandoned.closed() => {}
            () = self.follow() => {}
        }
    }

    /// Opens the stream again and again, with longer and longer breaks while that fails.
    async fn follow(&mut self) {
        let schedule = ExponentialBuilder::default()
            .with_min_delay(REOPEN_AFTER_MIN)
            .with_max_delay(REOPEN_AFTER_MAX)
            .with_jitter()
            .without_max_times();
        let mut breaks = schedule.build();
        loop {
            let (outcome, got_some) = self.run_once().await;
            if got_some {
                breaks = schedule.build();
            }
            if let Err(error) = outcome {
                tracing::warn!(error = %error, "the stream of rules broke");
            }
            sleep(breaks.next().unwrap_or(REOPEN_AFTER_MAX)).await;
        }
    }

    /// Follows one stream to its end. Also: did it bring any rules?
    async fn run_once(&mut self) -> (Result<()>, bool) {
        let mut got_some = false;
        let outcome = async {
            let mut parts = self.open().await?;
            while let Some(rules) = snapshot(&mut parts).await? {
                self.publish(rules);
                got_some = true;
            }
            Ok(())
        };
        (outcome.await, got_some)
    }

    async fn open(&self) -> Result<Streaming<RulesPart>> {
        let mut client: RulesClient<Channel> = limited!(RulesClient::new(self.peers.channel()));
        // No deadline on the call itself: the stream stays open.
        match timeout(self.peers.config.deadline.0, client.watch(WatchRequest {})).await {
            Ok(opened) => opened.map(|stream| stream.into_inner()).map_err(|status| error(&status)),
            Err(_elapsed) => Err(Error::new(ErrorCode::DeadlineExceeded, "no answer in time")),
        }
    }

    /// Rules never go back: another replica may lag behind the one that was followed before.
    fn publish(&mut self, rules: Rules) {
        let first = !std::mem::replace(&mut self.seen, true);
        self.newest.send_if_modified(|newest| {
            let newer = first || rules.sequence > newest.sequence;
            if newer {
                *newest = Arc::new(rules);
            }
            newer
        });
    }
}

/// The next whole snapshot; None at the end of the stream.
async fn snapshot(parts: &mut Streaming<RulesPart>) -> Result<Option<Rules>> {
    let mut json = Vec::new();
    while let Some(part) = parts.message().await.map_err(|status| error(&status))? {
        if json.len() + part.json.len() > RULES_BYTES_MAX {
            return Err(Error::internal("the rules are larger than any rules may be"));
        }
        json.extend_from_slice(&part.json);
        if !part.more {
            // The text of the error would show what is wrong, and that may be a secret.
            let read = serde_json::from_slice(&json);
            return read.map(Some).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                Error::internal(format!("the rules cannot be read at {line}:{column}"))
            });
        }
    }
    Ok(None)
}
