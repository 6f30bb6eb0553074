//! The days that traffic lies in.

use contract::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A day of UTC, counted from the Unix epoch: what retention drops in one piece.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Bucket(pub u32);

impl Bucket {
    /// The day before.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The day after.
    #[must_use]
    pub const fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// When it ends, which is when the next one begins.
    pub fn end(self) -> Timestamp {
        Timestamp(i64::from(self.after().0) * MICROS_PER_DAY)
    }

    /// The day of a moment.
    pub fn of(time: Timestamp) -> Self {
        Self(u32::try_from(time.unix_seconds().div_euclid(86_400)).unwrap_or(0))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
