//! Endpoints that misbehave, one misbehaviour a test, each with the cause that is recorded.
//!
//! Redirects, endless heads and bodies, trickles and cuts are in `outcomes.rs`, names and addresses
//! in `guarding.rs`.

mod answers;
mod connections;
mod retry_after;
mod tls;

use crate::world::{World, constant, open_config, spec};
use contract::{
    delivery::{Attempt, Cause},
    subscription::SubscriptionSpec,
};
use std::{net::SocketAddr, time::Duration};

/// The time limit of every attempt here.
const LIMIT: Duration = Duration::from_secs(1);
/// No attempt may take longer than this, however it ends: its limit, and a busy machine.
const LONGEST: Duration = Duration::from_secs(4);

/// A world whose deliveries go to `url`, and have a second.
fn world_at(url: &str) -> World {
    let timeout_ms = u32::try_from(LIMIT.as_millis()).ok();
    World::new(SubscriptionSpec { timeout_ms, ..spec(url, constant("10s", 3)) }, open_config())
}

/// The attempt that a delivery to `address` makes.
async fn attempt_at(address: SocketAddr) -> Attempt {
    let started = tokio::time::Instant::now();
    let attempt = world_at(&format!("http://{address}/")).attempt_one().await.0;
    assert!(started.elapsed() < LONGEST, "it held its worker for {:?}", started.elapsed());
    assert_eq!(attempt.error.is_some(), attempt.cause.is_some());
    attempt
}

/// What the attempt came to: its status and its cause.
fn end(attempt: &Attempt) -> (Option<u16>, Option<Cause>) {
    (attempt.status, attempt.cause)
}
