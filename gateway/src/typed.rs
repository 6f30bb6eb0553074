//! `POST /events/{namespace...}/{major}/{name}`: a typed event of a producer with an API key.

use crate::{
    body,
    events::{Admitted, Arrival, check_idempotency_key, check_not_own},
    service::Gateway,
};
use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun, Principal},
    event::{Audience, Direction, Disposition, NewEvent, Origin},
    limits::NAME_LENGTH_MAX,
    uri::EventUri,
};

/// Checks key, address and media type of a request and makes its event.
pub(crate) async fn admit(gateway: &Gateway, path: &str, arrival: Arrival) -> Result<Admitted> {
    let principal = gateway.authenticator.authenticate(&arrival.headers).await?;
    principal.require(Noun::Events, Access::Write)?;
    let uri: EventUri = path.parse()?;
    check_not_own(&uri)?;
    let (direction, audience) = address(&principal, &arrival)?;
    let content_type = content_type(&arrival)?;
    let idempotency_key = idempotency_key(&arrival)?;
    let max = gateway.config.body_bytes_max;
    body::check_length(&arrival.headers, max)?;

    let Arrival { received_at, headers, body, trace, .. } = arrival;
    let body = gateway.bodies.read(&headers, body, max).await?;
    let event = NewEvent {
        uri,
        direction,
        audience,
        origin: Origin::Producer(principal.producer()),
        payload: body.bytes.clone(),
        content_type,
        headers: gateway.keeper.keep(&headers),
        idempotency_key,
        received_at,
        trace,
        unvalidated: gateway.config.unvalidated,
        invalid: Disposition::Reject,
        rules: gateway.rules.borrow().sequence,
    };
    Ok(Admitted { event, body, response: None })
}

/// Whom the header `certes-subscriber` addresses: nobody else's subscriptions than our own without
/// it, one subscriber's by id, everybody's by `*`.
fn address(principal: &Principal, arrival: &Arrival) -> Result<(Direction, Audience)> {
    let audience = match arrival.headers.get("certes-subscriber").map(|value| value.to_str()) {
        None => Audience::Own,
        Some(Ok("*")) => Audience::All,
        Some(Ok(id)) if (1..=NAME_LENGTH_MAX).contains(&id.len()) => {
            Audience::Subscriber(id.to_owned())
        }
        Some(_) => {
            let message = "the header `certes-subscriber` must be the id of a subscriber, or `*`";
            return Err(Error::new(ErrorCode::InvalidRequest, message));
        }
    };
    if let Some(own) = &principal.subscriber
        && audience != Audience::Subscriber(own.clone())
    {
        let name = &principal.name;
        let message = format!("the key `{name}` may address only `certes-subscriber: {own}`");
        return Err(Error::new(ErrorCode::PermissionDenied, message));
    }
    let direction = match audience {
        Audience::Own => Direction::Incoming,
        Audience::Subscriber(_) | Audience::All => Direction::Outgoing,
    };
    Ok((direction, audience))
}

fn content_type(arrival: &Arrival) -> Result<String> {
    let given = arrival.content_type();
    let media_type = given.split(';').next().unwrap_or("").trim();
    let known = ["application/json", "application/protobuf"];
    if known.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Ok(given.to_owned());
    }
    let shown: String = media_type.chars().take(80).collect();
    let message = format!(
        "`{shown}` cannot be read; send `content-type: application/json` or application/protobuf"
    );
    Err(Error::new(ErrorCode::UnsupportedMediaType, message))
}

/// `idempotency-key`, or `webhook-id` where the producer speaks Standard Webhooks.
fn idempotency_key(arrival: &Arrival) -> Result<Option<String>> {
    let names = ["idempotency-key", "webhook-id"];
    let Some(name) = names.into_iter().find(|name| arrival.headers.contains_key(*name)) else {
        return Ok(None);
    };
    // A header that cannot be read counts as empty, which is refused.
    let key = arrival.header(name).unwrap_or("");
    check_idempotency_key(key)?;
    Ok(Some(key.to_owned()))
}
