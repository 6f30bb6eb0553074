//! The key of an ordered delivery, as a hash.

use crate::Failure;
use contract::subscription::OrderingKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The hash of what an expression gave. It is stored, so it never changes. Events for which the
/// expression gives nothing share one key: their order is kept rather than lost.
pub fn ordering_key(given: &Result<Value, Failure>) -> OrderingKey {
    let digest = match given {
        Ok(value) => Sha256::digest(value.to_string()),
        Err(_) => Sha256::digest([]),
    };
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    OrderingKey(u64::from_be_bytes(first))
}
