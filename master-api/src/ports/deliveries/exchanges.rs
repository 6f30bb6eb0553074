//! What went over the wire in the attempts of a delivery.

use super::event_with_payload;
use crate::{
    log::LogError,
    project::decode,
    shared::Shared,
    store::{Scan, Table},
    tables,
};
use contract::{
    exchange::{Exchange, ExchangeRecord, usual_headers},
    id::DeliveryId,
    limits::EXCHANGES_BYTES_MAX,
    master_api::Page,
};

/// Attempts after one of this number that went over the wire, put together with what is usual for
/// them.
pub(super) fn of(
    shared: &Shared,
    id: DeliveryId,
    after: u32,
    rows: usize,
) -> Result<Page<Exchange>, LogError> {
    let none = Page { items: Vec::new(), next: None };
    let Some(row) = shared.delivery_of(shared.rows(), id)? else { return Ok(none) };
    let days = match row.carried {
        Some(day) => vec![day],
        None => shared.buckets_of(id.sequence)?,
    };
    let mut found = Vec::new();
    for day in days {
        let day = Table::Payloads(day);
        let prefix = tables::exchanges_prefix(id);
        let scan = Scan { bytes: EXCHANGES_BYTES_MAX, ..Scan::prefix(day, &prefix, rows) };
        found = shared.store.scan(&scan.after(&tables::exchange_key(id, after)))?;
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        return Ok(none);
    }
    let Some((event, _)) = event_with_payload(shared, id.sequence, &row)? else {
        return Ok(none);
    };
    // A store may read on.
    let mut bytes = 0_usize;
    let full = found.iter().position(|(_, record)| {
        bytes = bytes.saturating_add(record.len());
        bytes >= EXCHANGES_BYTES_MAX
    });
    let full = full.map_or(rows, |last| last + 1);
    found.truncate(full);
    let last = found.last().and_then(|(key, _)| tables::exchange_of(key));
    let next = last.filter(|_| found.len() == full);
    let mut exchanges = Vec::with_capacity(found.len());
    for (key, record) in found {
        let named = tables::exchange_of(&key).map(|(_, number)| number);
        let attempt = row.attempts.iter().find(|attempt| Some(attempt.number) == named);
        let Some(attempt) = attempt else { continue };
        let record: ExchangeRecord = decode("exchange", &record)?;
        let usual = usual_headers(&event, id, attempt.number, attempt.started_at);
        exchanges.push(record.into_exchange(attempt.number, usual));
    }
    Ok(Page { items: exchanges, next: next.map(|(_, number)| number.to_string()) })
}
