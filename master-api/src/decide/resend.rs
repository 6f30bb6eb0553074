//! Makes a finished delivery wait again.

use crate::{fact::FactBody, state::State, tables::DeliveryRow};
use contract::{Error, ErrorCode, Result, delivery::DeliveryState, id::DeliveryId};

/// Due at once; the back-off starts anew.
pub fn resend(state: &State, id: DeliveryId, row: Option<&DeliveryRow>) -> Result<FactBody> {
    let row = row.ok_or_else(|| super::not_found("delivery", &id.to_string()))?;
    if row.state == DeliveryState::Waiting {
        let message = format!("delivery `{id}` is not finished: its next attempt is to come");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    if !state.subscriptions.contains_key(&id.lane.subscription()) {
        let message = format!("the subscription of delivery `{id}` was removed");
        return Err(Error::new(ErrorCode::Conflict, message));
    }
    Ok(FactBody::DeliveryResent { delivery: id })
}
