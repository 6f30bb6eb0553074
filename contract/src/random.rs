//! Dice come in through [`Random`]: the system's generator in production, a seeded one in tests.

use std::fmt;

/// A source of random bytes.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` with random ones, fit for keys in production.
    fn fill(&self, bytes: &mut [u8]);

    /// A number in `[0, 1)`.
    fn fraction(&self) -> f64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
        let value = (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64;
        value
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::expect_used, reason = "without entropy no key may be made: stop")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system gives random bytes");
    }
}
