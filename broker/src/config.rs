//! What can be set of the broker and its feeder.

use contract::backoff::Span;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// Settings of the broker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens for other parts, when split. Default: port 9620 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// Longest wait for the log's answer to one event. After it the event is sent again under the
    /// same id, which is safe: the log takes an id once.
    pub store_timeout: Span,
    /// How often an event is sent to the log whose answer does not come in time.
    pub store_attempts_max: u32,
    /// Longest wait for newer rules when the log says that an event was matched by old ones.
    pub rules_timeout: Span,
    /// How often an event is matched anew because the rules changed meanwhile.
    pub rules_attempts_max: u32,
    /// Settings of the feeder.
    pub feeder: FeederConfig,
    /// Settings of the announcer.
    pub announcer: AnnouncerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc: None,
            store_timeout: Span(Duration::from_secs(10)),
            store_attempts_max: 3,
            rules_timeout: Span(Duration::from_secs(2)),
            rules_attempts_max: 5,
            feeder: FeederConfig::default(),
            announcer: AnnouncerConfig::default(),
        }
    }
}

/// Settings of the feeder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeederConfig {
    /// How often the log is asked which lanes have work.
    pub tick: Span,
    /// How long before its due time a retry is brought into the queue. More than `tick`, so that
    /// none comes late.
    pub horizon: Span,
    /// After this time without progress, what a lane should have in the queue is fed again.
    pub refeed_after: Span,
    /// Most rows of one page of a lane. At least the largest window of the queue: retries have no
    /// cursor, and those in the queue already come first in every page.
    pub page_rows: u32,
    /// Most lanes of one round; the others have their turn in the next.
    pub lanes_per_round: usize,
    /// Lanes that are worked on at the same time.
    pub lanes_at_once: usize,
    /// Most fresh deliveries that wait to be passed to the queue directly. What is above comes
    /// from the log.
    pub shortcut_items_max: usize,
    /// Longest wait for one answer of the queue or the log.
    pub timeout: Span,
}

impl Default for FeederConfig {
    fn default() -> Self {
        Self {
            tick: Span(Duration::from_secs(1)),
            horizon: Span(Duration::from_secs(5)),
            refeed_after: Span(Duration::from_secs(60)),
            page_rows: 1024,
            lanes_per_round: 256,
            lanes_at_once: 8,
            shortcut_items_max: 16_384,
            timeout: Span(Duration::from_secs(10)),
        }
    }
}

/// Settings of the announcer, which makes the server's own events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnnouncerConfig {
    /// Whether it runs. What happens meanwhile is announced when it runs again.
    pub enabled: bool,
    /// Most facts of one look into the log.
    pub page_facts: u32,
    /// Longest wait for one answer of the log.
    pub timeout: Span,
}

impl Default for AnnouncerConfig {
    fn default() -> Self {
        Self { enabled: true, page_facts: 100, timeout: Span(Duration::from_secs(10)) }
    }
}
