//! Events in memory from their storing to their first attempt, so that the hot path reads no
//! event back. A cache: what is not in it is read from the store.

use crate::{fact::FactBody, prepare::Prepared, tables::SALT_LENGTH};
use bytes::Bytes;
use contract::{event::Event, id::Sequence};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// The newest events, up to a number of bytes.
#[derive(Debug)]
pub struct Recent {
    bytes_max: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: BTreeMap<Sequence, Arc<Prepared>>,
    order: VecDeque<Sequence>,
    bytes: usize,
}

/// What an event takes beside its payload, roughly, in bytes.
const EVENT_BYTES: usize = 2048;

impl Recent {
    /// Holds up to `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ring: Mutex::default() }
    }

    /// Takes in an event that was stored at `sequence`; the oldest ones make room.
    pub fn put(&self, sequence: Sequence, event: Arc<Prepared>) {
        let size = |event: &Prepared| event.payload.len() + EVENT_BYTES;
        if size(&event) > self.bytes_max {
            return;
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += size(&event);
        ring.order.push_back(sequence);
        ring.events.insert(sequence, event);
        while ring.bytes > self.bytes_max
            && let Some(oldest) = ring.order.pop_front()
        {
            let gone = ring.events.remove(&oldest);
            ring.bytes -= gone.map_or(0, |event| size(&event));
        }
    }

    /// Forgets an event whose payload was erased. Its place in the order stays, and frees nothing
    /// when its turn comes.
    pub fn remove(&self, sequence: Sequence) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gone) = ring.events.remove(&sequence) {
            ring.bytes -= gone.payload.len() + EVENT_BYTES;
        }
    }

    /// Where the events were stored that are here.
    pub fn sequences(&self) -> Vec<Sequence> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.events.keys().copied().collect()
    }

    /// The event at `sequence` with its payload.
    pub fn get(&self, sequence: Sequence) -> Option<(Event, Bytes)> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = Arc::clone(ring.events.get(&sequence)?);
        drop(ring);
        let (FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. }) =
            &prepared.body
        else {
            return None;
        };
        let event = (**event).clone().into_event(sequence, None);
        Some((event, prepared.payload.slice(SALT_LENGTH..)))
    }
}
