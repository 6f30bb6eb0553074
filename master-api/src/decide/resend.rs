//! Makes a finished delivery wait again.

use crate::{
    fact::FactBody,
    lifecycle::{self, Trigger},
    state::State,
    tables::{DeliveryRow, EventIdRow},
};
use contract::{Error, ErrorCode, Result, delivery::Cause, id::DeliveryId};

/// Due at once; the back-off starts anew. `event` is the row of its event.
pub fn resend(
    state: &State,
    id: DeliveryId,
    row: Option<&DeliveryRow>,
    event: Option<&EventIdRow>,
) -> Result<FactBody> {
    let row = row.ok_or_else(|| super::not_found("delivery", &id.to_string()))?;
    if lifecycle::after(row.state, Trigger::Resent).is_none() {
        let message = format!("delivery `{id}` is not finished: its next attempt is to come");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    if !state.subscriptions.contains_key(&id.lane.subscription()) {
        let message = format!("the subscription of delivery `{id}` was removed");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    let gone = |event: &EventIdRow| {
        let retired = state.retired.is_some_and(|day| event.bucket <= day);
        event.gone.or_else(|| retired.then_some(Cause::Expired))
    };
    if let Some(cause) = event.map_or(Some(Cause::Expired), gone) {
        let message = format!("the payload of delivery `{id}` is gone: {cause}");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    if state.retired(id.sequence, row.carried) {
        let message = format!("delivery `{id}` is about to go: its retention has passed");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    Ok(FactBody::DeliveryResent { delivery: id })
}
