//! What can be done before the writer sees it: an event is checked, hashed and encoded; of changes,
//! passwords are hashed and keys made.

use crate::{
    fact::{FactBody, Hash, StoredEvent},
    log::Draft,
    once::Once,
    tables::{self, SALT_LENGTH},
    token_key::NewTokenKey,
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    command::Changeset,
    event::{Audience, Direction, NewEvent},
    id::{EventId, LaneId, Sequence},
    limits,
    master_api::{ReleaseEvent, StoreEvent},
    random::Random,
    subscription::OrderingKey,
    uri::EventUri,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Changes that only have to be decided.
#[derive(Debug)]
pub struct PreparedChanges {
    /// The commands, with hashes in the place of passwords.
    pub changes: Changeset,
    /// A new key, where the commands want one.
    pub token_key: Option<NewTokenKey>,
    /// Carry them out only if that was not done before.
    pub once: Option<Once>,
}

/// An event that only lacks its place in the log.
#[derive(Debug)]
pub struct Prepared {
    /// Its id.
    pub id: EventId,
    /// Its fact.
    pub body: FactBody,
    /// Its fact, encoded.
    pub draft: Draft,
    /// Salt and payload.
    pub payload: Bytes,
    /// Key of its idempotency row, and what the same event has to agree in.
    pub idempotency: Option<(Vec<u8>, Hash)>,
    /// The lanes it goes into.
    pub lanes: Vec<LaneId>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
    /// It is kept aside.
    pub quarantined: bool,
}

impl Prepared {
    /// Prepares an event. The actor is the broker: who sent the event is its origin.
    pub fn new(command: StoreEvent, random: &dyn Random) -> Result<Self> {
        let StoreEvent { id, event, stamp, schema_minor, quarantine, mut lanes, keys, rules } =
            command;
        if quarantine.is_some() {
            lanes.clear();
        }
        lanes.sort_unstable();
        lanes.dedup();
        let keys = of_lanes(keys, &lanes);
        let key = event.idempotency_key.as_deref();
        if key.is_some_and(|key| key.len() > limits::IDEMPOTENCY_KEY_LENGTH_MAX) {
            let max = limits::IDEMPOTENCY_KEY_LENGTH_MAX;
            let message = format!("the idempotency key has more than {max} bytes");
            return Err(Error::new(ErrorCode::InvalidRequest, message));
        }
        let idempotency =
            key.map(|key| (tables::idempotency_key(&event.origin, key), of_event(&event)));
        let payload = salted(&event.payload, random);
        let stored = Box::new(StoredEvent {
            id,
            uri: event.uri,
            direction: event.direction,
            audience: event.audience,
            origin: event.origin,
            content_type: event.content_type,
            headers: event.headers,
            idempotency_key: event.idempotency_key,
            received_at: event.received_at,
            trace: event.trace,
            stamp,
            size: u64::try_from(event.payload.len()).unwrap_or(u64::MAX),
            payload_digest: Hash(Sha256::digest(&payload).into()),
            schema_minor,
            lanes: lanes.clone(),
            keys,
            rules,
        });
        let quarantined = quarantine.is_some();
        let body = match quarantine {
            None => FactBody::EventAccepted { event: stored },
            Some(reason) => FactBody::EventQuarantined { event: stored, reason },
        };
        let actor = Actor::Component("broker".to_owned());
        let draft = Draft::new(&actor, &body).map_err(Error::internal)?;
        Ok(Self { id, body, draft, payload, idempotency, lanes, rules, quarantined })
    }

    /// Prepares an event that was kept aside at `from`, with its row of salt and payload, to be
    /// taken in the name of `actor`.
    pub fn released(
        actor: &Actor,
        release: ReleaseEvent,
        (from, aside): (Sequence, StoredEvent),
        payload: Bytes,
    ) -> Result<Self> {
        let ReleaseEvent { id, schema_minor, mut lanes, keys, rules } = release;
        lanes.sort_unstable();
        lanes.dedup();
        let keys = of_lanes(keys, &lanes);
        let taken = lanes.clone();
        let event = Box::new(StoredEvent { schema_minor, lanes: taken, keys, rules, ..aside });
        let body = FactBody::QuarantineReleased { event, from };
        let draft = Draft::new(actor, &body).map_err(Error::internal)?;
        // Its idempotency key, if it still holds, leads to it by its id.
        let (idempotency, quarantined) = (None, false);
        Ok(Self { id, body, draft, payload, idempotency, lanes, rules, quarantined })
    }
}

/// The keys of these lanes, which are in order.
fn of_lanes(
    mut keys: BTreeMap<LaneId, OrderingKey>,
    lanes: &[LaneId],
) -> BTreeMap<LaneId, OrderingKey> {
    keys.retain(|lane, _| lanes.binary_search(lane).is_ok());
    keys
}

fn of_event(event: &NewEvent) -> Hash {
    identity(&event.uri, event.direction, &event.audience, &event.payload)
}

/// SHA-256 of all that makes two events with one idempotency key the same: type, direction,
/// audience and payload, each with its length before it, so that none runs into the next.
pub fn identity(uri: &EventUri, direction: Direction, audience: &Audience, payload: &[u8]) -> Hash {
    let direction = direction.to_string();
    let (audience, subscriber) = match audience {
        Audience::Own => ("own", ""),
        Audience::Subscriber(id) => ("subscriber", id.as_str()),
        Audience::All => ("all", ""),
    };
    let texts = [uri.as_str(), &direction, audience, subscriber].map(str::as_bytes);
    let mut hasher = Sha256::new();
    for part in texts.into_iter().chain([payload]) {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

fn salted(payload: &[u8], random: &dyn Random) -> Bytes {
    let mut row = Vec::with_capacity(SALT_LENGTH + payload.len());
    row.resize(SALT_LENGTH, 0);
    random.fill(&mut row);
    row.extend(payload);
    row.into()
}
