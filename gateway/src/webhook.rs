//! `POST /events/{source}`: a webhook of a configured source.

use crate::{
    body,
    events::{Admitted, Arrival, check_idempotency_key, check_not_own},
    service::Gateway,
    sources::Door,
    template::{Request, Unfilled},
};
use contract::{
    Error, ErrorCode, Result,
    event::{Audience, Direction, NewEvent, Origin},
    uri::EventUri,
};

/// Verifies a request of the source `name` and makes its event. Cheap refusals first: nothing is
/// read of a body that could not be accepted.
pub(crate) async fn admit(gateway: &Gateway, name: &str, arrival: Arrival) -> Result<Admitted> {
    let door = gateway.sources.get(name)?;
    body::check_length(&arrival.headers, door.body_bytes_max)?;
    let claim = door.verifier.claim(&arrival.headers, arrival.received_at)?;
    let content_type = arrival.content_type().to_owned();

    let Arrival { received_at, headers, body, trace } = arrival;
    let body = gateway.bodies.read(&headers, body, door.body_bytes_max).await?;
    if let Some(claim) = claim {
        door.verifier.verify(&claim, &body.bytes).await?;
    }

    let request = Request { headers: &headers, content_type: &content_type, body: &body.bytes };
    let uri = event_type(&door, request)?;
    let idempotency_key = idempotency_key(&door, request)?;
    let spec = &door.source.spec;
    let event = NewEvent {
        uri,
        direction: Direction::Incoming,
        audience: spec.subscriber.clone().map_or(Audience::Own, Audience::Subscriber),
        origin: Origin::Source(spec.name.clone()),
        payload: body.bytes.clone(),
        headers: gateway.keeper.keep(&headers),
        content_type,
        idempotency_key,
        received_at,
        trace,
        unvalidated: spec.unvalidated,
        invalid: spec.invalid,
        rules: gateway.rules.borrow().sequence,
    };
    Ok(Admitted { event, body })
}

fn event_type(door: &Door, request: Request<'_>) -> Result<EventUri> {
    let filled = door.event_type.fill(request).map_err(|unfilled| match unfilled {
        Unfilled::Refused(error) => error,
        Unfilled::Missing(what) => {
            let template = &door.source.spec.event_type.0;
            let message = format!("{what} is missing: it names the event type (`{template}`)");
            Error::new(ErrorCode::InvalidRequest, message)
        }
    })?;
    let uri: EventUri = filled.parse()?;
    check_not_own(&uri)?;
    Ok(uri)
}

/// The key that the source's template finds, else the scheme's own. A request without one is
/// accepted all the same: nobody can tell whether it is a repeat.
fn idempotency_key(door: &Door, request: Request<'_>) -> Result<Option<String>> {
    let key = match &door.idempotency_key {
        None => door.verifier.delivery_id(request.headers).map(str::to_owned),
        Some(template) => match template.fill(request) {
            Ok(key) => Some(key),
            Err(Unfilled::Missing(_)) => None,
            Err(Unfilled::Refused(error)) => return Err(error),
        },
    };
    key.as_deref().map(check_idempotency_key).transpose()?;
    Ok(key)
}
