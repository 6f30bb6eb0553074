//! Typed ids and where they come from.

use crate::{clock::Clock, random::Random, subscription::Priority};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

/// Crockford's base 32 in lower case: sorts as the bytes do, no dot, no look-alikes.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn encode_base32(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let digits = (bytes.len() * 8).div_ceil(5);
    for digit in 0..digits {
        let mut value = 0;
        for bit in digit * 5..digit * 5 + 5 {
            let byte = bytes.get(bit / 8).copied().unwrap_or(0);
            value = (value << 1) | ((byte >> (7 - bit % 8)) & 1);
        }
        fmt::Write::write_char(f, char::from(ALPHABET[usize::from(value)]))?;
    }
    Ok(())
}

fn decode_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut bytes = [0_u8; N];
    for (digit, character) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|c| *c == character)?;
        for offset in 0..5 {
            let (bit, one) = (digit * 5 + offset, (value >> (4 - offset)) & 1 == 1);
            match bytes.get_mut(bit / 8) {
                Some(byte) if one => *byte |= 0x80 >> (bit % 8),
                None if one => return None,
                _ => {}
            }
        }
    }
    Some(bytes)
}

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no id: an id is `{prefix}` and {digits} characters; is one mistyped?")]
pub struct InvalidId {
    /// What was given.
    pub found: String,
    /// What it has to start with.
    pub prefix: &'static str,
    /// How many characters follow.
    pub digits: usize,
}

macro_rules! text_id {
    ($name:ident, $prefix:literal, $length:literal) => {
        impl $name {
            /// What the text form starts with.
            pub const PREFIX: &'static str = $prefix;
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                encode_base32(&self.to_bytes(), f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(decode_base32::<$length>)
                    .map(Self::from_bytes)
                    .ok_or_else(|| InvalidId {
                        found: text.chars().take(64).collect(),
                        prefix: $prefix,
                        digits: ($length * 8_usize).div_ceil(5),
                    })
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.to_bytes())
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
                } else {
                    let bytes = bytes::Bytes::deserialize(deserializer)?;
                    let bytes = bytes.as_ref().try_into().map_err(de::Error::custom)?;
                    Ok(Self::from_bytes(bytes))
                }
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);
        impl $name {
            /// From the 16 bytes of a UUID.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self { Self(bytes) }
            /// The 16 bytes of the UUID.
            pub const fn to_bytes(self) -> [u8; 16] { self.0 }
        }
        text_id!($name, $prefix, 16);
    };
}

uuid_id!(
    /// An event: a UUIDv7 (RFC 9562), so ids sort by time. Text form `evt_...`.
    EventId, "evt_");
uuid_id!(
    /// A subscription. Text form `sub_...`.
    SubscriptionId, "sub_");
uuid_id!(
    /// An API key (not the token itself). Text form `key_...`.
    KeyId, "key_");
uuid_id!(
    /// A user, who logs in with a password. Text form `user_...`.
    UserId, "user_");
uuid_id!(
    /// A replay. Text form `rpl_...`.
    ReplayId, "rpl_");
uuid_id!(
    /// A stored secret (not its bytes). Text form `sec_...`.
    SecretId, "sec_");

/// Position of a fact in the log; the first is 1, and 0 means "before all".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A subscription's number: small, given once by Master API and never again, from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct SubscriptionNumber(pub u32);

/// Largest subscription number: what is left of 32 bits beside the priority.
pub const SUBSCRIPTION_NUMBER_MAX: u32 = (1 << 28) - 1;

/// A lane: the deliveries of one subscription that were accepted at one priority, or those that are
/// replayed. The number is in the upper 28 bits, the priority in the lower 4, so the lanes of a
/// subscription lie together.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct LaneId(pub u32);

/// What stands in the place of the priority in lanes of what is replayed.
const BEHIND: u32 = 10;

impl LaneId {
    /// The lane of a subscription at a priority.
    pub fn new(subscription: SubscriptionNumber, priority: Priority) -> Self {
        Self((subscription.0 << 4) | u32::from(u8::from(priority)))
    }

    /// The lane of a subscription for what is replayed: behind all live deliveries.
    pub const fn behind(subscription: SubscriptionNumber) -> Self {
        Self((subscription.0 << 4) | BEHIND)
    }

    /// Does it lie behind all live deliveries?
    pub const fn is_behind(self) -> bool {
        self.0 & 0xF == BEHIND
    }

    /// Whose lane it is.
    pub const fn subscription(self) -> SubscriptionNumber {
        SubscriptionNumber(self.0 >> 4)
    }

    /// The priority at which its deliveries were accepted; 5 where they are replayed.
    pub fn priority(self) -> Priority {
        Priority::try_from((self.0 & 0xF) as u8).unwrap_or_default()
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_behind() {
            true => write!(f, "{}/replay", self.0 >> 4),
            false => write!(f, "{}/{}", self.0 >> 4, self.0 & 0xF),
        }
    }
}

/// A delivery: its lane, and the sequence of the fact that made it. Twelve bytes that sort by lane
/// and then by age. Text form `dlv_...`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The subscription's lane.
    pub lane: LaneId,
    /// The fact that made the delivery.
    pub sequence: Sequence,
}

impl DeliveryId {
    /// Lane then sequence, both big-endian.
    pub const fn to_bytes(self) -> [u8; 12] {
        let (lane, sequence) = (self.lane.0.to_be_bytes(), self.sequence.0.to_be_bytes());
        let mut bytes = [0; 12];
        let mut at = 0;
        while at < 12 {
            bytes[at] = if at < 4 { lane[at] } else { sequence[at - 4] };
            at += 1;
        }
        bytes
    }

    /// The reverse of [`Self::to_bytes`].
    pub const fn from_bytes(b: [u8; 12]) -> Self {
        Self {
            lane: LaneId(u32::from_be_bytes([b[0], b[1], b[2], b[3]])),
            sequence: Sequence(u64::from_be_bytes([
                b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
            ])),
        }
    }
}

text_id!(DeliveryId, "dlv_", 12);

/// Where new ids come from.
pub trait IdGenerator: Send + Sync + fmt::Debug {
    /// A new UUIDv7, larger than every one before it from this generator.
    fn uuid(&self) -> [u8; 16];
}

/// UUIDv7 ids from a clock and dice.
#[derive(Debug)]
pub struct Uuid7 {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    last: Mutex<u128>,
}

impl Uuid7 {
    /// A generator on `clock` and `random`.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, last: Mutex::new(0) }
    }
}

impl IdGenerator for Uuid7 {
    fn uuid(&self) -> [u8; 16] {
        let mut dice = [0; 10];
        self.random.fill(&mut dice);
        let millis = u64::try_from(self.clock.now().0 / 1000).unwrap_or(0);
        let fresh = uuid::Builder::from_unix_timestamp_millis(millis, &dice).into_uuid().as_u128();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Inside one millisecond, or when the clock steps back, count up in the random bits.
        *last = if fresh > *last { fresh } else { *last + 1 };
        last.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_round_trip_and_sort(a: [u8; 16], b: [u8; 16]) {
            let (x, y) = (EventId::from_bytes(a), EventId::from_bytes(b));
            prop_assert_eq!(x.to_string().parse::<EventId>().unwrap(), x);
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
            prop_assert!(!x.to_string().contains('.'));
        }

        #[test]
        fn delivery_ids_round_trip(lane: u32, sequence: u64) {
            let id = DeliveryId { lane: LaneId(lane), sequence: Sequence(sequence) };
            prop_assert_eq!(id.to_string().parse::<DeliveryId>().unwrap(), id);
            prop_assert_eq!(DeliveryId::from_bytes(id.to_bytes()), id);
        }

        #[test]
        fn any_text_is_refused_or_round_trips(text in "(evt_)?[0-9a-z]{24,27}") {
            if let Ok(id) = text.parse::<EventId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
