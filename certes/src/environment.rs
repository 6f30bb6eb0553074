//! Where time, dice and ids come into a server.

use contract::{
    clock::{Clock, SystemClock},
    id::{IdGenerator, Uuid7},
    random::{Random, SystemRandom},
};
use std::sync::Arc;

/// Where time, dice and ids come from.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Dice.
    pub random: Arc<dyn Random>,
    /// Ids.
    pub ids: Arc<dyn IdGenerator>,
}

impl Environment {
    /// The system's own.
    pub fn system() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// The system's dice, and this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let ids = Arc::new(Uuid7::new(Arc::clone(&clock), Arc::clone(&random)));
        Self { clock, random, ids }
    }
}
