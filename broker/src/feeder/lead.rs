//! Who feeds: of several feeders on one log, one. It has the right by a lease of the log, asks for
//! it once a second, and begins at the durable cursors when it gets it.
//!
//! The others pass on only what their own broker stores, to a queue that all share. To a queue of
//! their own process they pass nothing: what is in there would be attempted a second time.

use super::Feeder;
use crate::deadline::within;
use contract::{Result, clock::Timestamp, master_api::Fence};
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// How often the right is asked for: several times within its lease.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Who leads, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// The log was not asked yet.
    Unknown,
    /// This feeder.
    Own(Fence),
    /// Another one.
    Other,
}

/// What a feeder knows of the right to feed.
#[derive(Debug)]
pub(super) struct Leadership {
    /// Its name among the feeders.
    pub name: String,
    /// Nobody else puts anything into its queue.
    pub has_own_queue: bool,
    lead: watch::Sender<Lead>,
    next_ask: Mutex<Timestamp>,
}

impl Leadership {
    pub fn new() -> Self {
        let lead = watch::Sender::new(Lead::Unknown);
        Self { name: "feeder".to_owned(), has_own_queue: false, lead, next_ask: Mutex::default() }
    }

    pub fn now(&self) -> Lead {
        *self.lead.borrow()
    }

    /// Returns when this feeder leads.
    pub async fn is_own(&self) {
        let mut lead = self.lead.subscribe();
        // The sender lives as long as this.
        _ = lead.wait_for(|lead| matches!(lead, Lead::Own(_))).await.is_ok();
    }

    /// When the right is asked for again.
    pub async fn next_ask(&self) -> Timestamp {
        *self.next_ask.lock().await
    }
}

impl Feeder {
    /// Asks for the right to feed if it is time to; gives the fence of it. What a former leader
    /// had in hand is forgotten with it, and a new one begins at the durable cursors.
    ///
    /// Errors: those of the log, which leave things as they are.
    pub(super) async fn keep_lead(&self) -> Result<Option<Fence>> {
        let mut next = self.leadership.next_ask.lock().await;
        let now = self.clock.now();
        if now >= *next {
            let asked = self.log.lead(&self.leadership.name);
            let fence = within(self.config.timeout.0, "the log", asked).await?;
            *next = now.after(ASK_EVERY);
            drop(next);
            self.note_lead(fence.map_or(Lead::Other, Lead::Own)).await;
        }
        Ok(match self.leadership.now() {
            Lead::Own(fence) => Some(fence),
            Lead::Unknown | Lead::Other => None,
        })
    }

    async fn note_lead(&self, lead: Lead) {
        let before = self.leadership.now();
        if before == lead {
            return;
        }
        self.metrics.leads(matches!(lead, Lead::Own(_)));
        match (before, lead) {
            (Lead::Unknown, Lead::Own(_)) => {}
            (_, Lead::Own(fence)) => {
                tracing::info!(fence = fence.0, "this feeder feeds from now on");
                *self.inspection.lock().await = super::Inspection::default();
                self.table.reset();
            }
            (_, Lead::Other) => {
                tracing::info!("another feeder feeds");
                self.table.reset();
            }
            (_, Lead::Unknown) => {}
        }
        self.leadership.lead.send_replace(lead);
    }

    /// Lets another feeder begin at once.
    pub(super) async fn step_down(&self) {
        if !matches!(self.leadership.now(), Lead::Own(_)) {
            return;
        }
        let said = self.log.step_down(&self.leadership.name);
        if let Err(error) = within(self.config.timeout.0, "the log", said).await {
            tracing::warn!(%error, "cannot tell the other feeders that this one ends");
        }
    }
}
