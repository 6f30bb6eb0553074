//! The rows that facts are projected onto, read and written one by one.

use crate::{
    codec,
    log::LogError,
    store::{Rows, Scan, Table},
    tables::{self, DeliveryRow, EventIdRow, ReplayRow},
};
use contract::id::{DeliveryId, EventId, ReplayId};

/// An event's row.
pub fn read_event(rows: &dyn Rows, id: EventId) -> Result<Option<EventIdRow>, LogError> {
    let row = rows.get(Table::EventIds, &id.to_bytes())?;
    row.map(|row| decode("event id", &row)).transpose()
}

/// A delivery's row.
pub fn read_delivery(rows: &dyn Rows, id: DeliveryId) -> Result<Option<DeliveryRow>, LogError> {
    let row = rows.get(Table::Deliveries, &id.to_bytes())?;
    row.map(|row| decode("delivery", &row)).transpose()
}

/// How far a replay is; None: it does not run.
pub fn read_replay(rows: &dyn Rows, id: ReplayId) -> Result<Option<ReplayRow>, LogError> {
    let row = rows.get(Table::Replays, &tables::replay_key(id))?;
    row.map(|row| decode("replay", &row)).transpose()
}

/// Up to `limit` deliveries that were made after their event.
pub fn read_made(
    rows: &dyn Rows,
    (event, row): (EventId, &EventIdRow),
    limit: usize,
) -> Result<Vec<DeliveryId>, LogError> {
    if !row.later {
        return Ok(Vec::new());
    }
    let marks = rows.scan(&Scan::prefix(Table::Replays, &tables::made_prefix(event), limit))?;
    Ok(marks.iter().filter_map(|(key, _)| tables::made_of(key)).collect())
}

/// Encodes a row; `what` names it in an error.
pub fn encode<T: serde::Serialize>(what: &str, row: &T) -> Result<Vec<u8>, LogError> {
    codec::encode(row).map_err(|source| LogError::Row { what: what.to_owned(), source })
}

/// Decodes a row; `what` names it in an error.
pub fn decode<T: serde::de::DeserializeOwned>(what: &str, row: &[u8]) -> Result<T, LogError> {
    codec::decode(row).map_err(|source| LogError::Row { what: what.to_owned(), source })
}
