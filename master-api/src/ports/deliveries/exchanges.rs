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
};

/// Attempts that went over the wire, put together with what is usual for them.
pub(super) fn of(shared: &Shared, id: DeliveryId) -> Result<Vec<Exchange>, LogError> {
    let Some(row) = shared.delivery_of(shared.rows(), id)? else { return Ok(Vec::new()) };
    let days = match row.carried {
        Some(day) => vec![day],
        None => shared.buckets_of(id.sequence)?,
    };
    let mut found = Vec::new();
    for day in days {
        let prefix = tables::exchanges_prefix(id);
        let scan = Scan::prefix(Table::Payloads(day), &prefix, row.attempts.len());
        found = shared.store.scan(&scan)?;
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let Some((event, _)) = event_with_payload(shared, id.sequence, &row)? else {
        return Ok(Vec::new());
    };
    let mut exchanges = Vec::with_capacity(found.len());
    for (key, record) in found {
        let named = tables::exchange_of(&key).map(|(_, number)| number);
        let attempt = row.attempts.iter().find(|attempt| Some(attempt.number) == named);
        let Some(attempt) = attempt else { continue };
        let record: ExchangeRecord = decode("exchange", &record)?;
        let usual = usual_headers(&event, id, attempt.number, attempt.started_at);
        exchanges.push(record.into_exchange(attempt.number, usual));
    }
    Ok(exchanges)
}
