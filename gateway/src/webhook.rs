//! `POST /events/{source}`: a webhook of a configured source.

use crate::{
    body,
    caller::address,
    challenge,
    events::{Admitted, Arrival, Caller, check_idempotency_key, check_not_own},
    policy::Left,
    service::Gateway,
    sources::Door,
    template::{Request, Unfilled},
    verify::Proof,
};
use axum::response::Response;
use contract::{
    Error, ErrorCode, Result,
    event::{Audience, Direction, NewEvent, Origin},
    source::{Replay, SourceSpec},
    uri::EventUri,
};
use std::sync::Arc;

/// What comes of a request that may pass.
#[derive(Debug)]
pub(crate) enum Passed {
    /// An event.
    Event(Box<Admitted>),
    /// A question of the third party, and its answer: no event.
    Answer(Response),
}

/// The source of that name, if the caller may come to it now. `left`: what is left of its rate.
pub(crate) fn enter(
    gateway: &Gateway,
    name: &str,
    caller: Caller<'_>,
    left: &mut Option<Left>,
) -> Result<Arc<Door>> {
    let door = gateway.sources.get(name)?;
    let trusted = &gateway.config.trusted_proxies;
    door.policy.check_address(address(caller.extensions, caller.headers, trusted))?;
    match door.policy.take(caller.now) {
        None => {}
        Some(Ok(rest)) => *left = Some(rest),
        Some(Err((error, rest))) => {
            *left = Some(rest);
            return Err(error);
        }
    }
    Ok(door)
}

/// Verifies a request of a source and makes its event. Cheap refusals first: nothing is read of a
/// body that could not be accepted.
pub(crate) async fn admit(gateway: &Gateway, door: &Door, arrival: Arrival) -> Result<Passed> {
    if let Some(answer) = challenge::of_query(door, arrival.uri.query()) {
        return answer.map(Passed::Answer);
    }
    body::check_length(&arrival.headers, door.body_bytes_max)?;
    let claim = door.verifier.claim(arrival.head())?;
    let content_type = arrival.content_type().to_owned();

    let Arrival { received_at, headers, body, trace, .. } = arrival;
    let body = gateway.bodies.read(&headers, body, door.body_bytes_max).await?;
    let proof = match claim {
        Some(claim) => Some(door.verifier.verify(&claim, &body.bytes).await?),
        None => None,
    };
    if let Some(proof) = &proof
        && let Some(answer) = challenge::of_body(door, proof, &body.bytes)
    {
        return answer.map(Passed::Answer);
    }

    let request = Request { headers: &headers, content_type: &content_type, body: &body.bytes };
    let uri = event_type(door, request)?;
    let idempotency_key = match proof {
        Some(proof) if door.source.spec.replay == Replay::Signature => Some(replay_key(&proof)),
        _ => idempotency_key(door, request)?,
    };
    let mut kept = gateway.keeper.keep(&headers);
    let is_key =
        |name: &str| door.verifier.key_header().is_some_and(|key| key.eq_ignore_ascii_case(name));
    kept.0.retain(|(name, _)| !is_key(name));
    let spec = &door.source.spec;
    let event = NewEvent {
        uri,
        direction: Direction::Incoming,
        audience: spec.subscriber.clone().map_or(Audience::Own, Audience::Subscriber),
        origin: Origin::Source(spec.name.clone()),
        payload: body.bytes.clone(),
        headers: kept,
        content_type,
        idempotency_key,
        received_at,
        trace,
        unvalidated: spec.unvalidated,
        invalid: spec.invalid,
        rules: gateway.rules.borrow().sequence,
    };
    Ok(Passed::Event(Box::new(Admitted { event, body, response: spec.response.clone() })))
}

/// The type that the source's template finds, by way of its table where it has one; else the type
/// for all others.
fn event_type(door: &Door, request: Request<'_>) -> Result<EventUri> {
    let spec = &door.source.spec;
    let found = door.event_type.fill(request).map_err(|unfilled| match unfilled {
        Unfilled::Refused(error) => error,
        Unfilled::Missing(what) => {
            let template = &spec.event_type.0;
            let message = format!("{what} is missing: it names the event type (`{template}`)");
            Error::new(ErrorCode::InvalidRequest, message)
        }
    });
    let uri = match (found.and_then(|name| meant(spec, &name)), &spec.otherwise) {
        (Err(_), Some(otherwise)) => otherwise.clone(),
        (found, _) => found?,
    };
    check_not_own(&uri)?;
    door.policy.check_type(&uri)?;
    Ok(uri)
}

/// What a name means in the table of the source; without one, it is the event type.
fn meant(spec: &SourceSpec, name: &str) -> Result<EventUri> {
    if spec.event_types.is_empty() {
        return name.parse();
    }
    spec.event_types.get(name).cloned().ok_or_else(|| {
        let shown: String = name.chars().take(80).collect();
        let message = format!("`{shown}` is in no row of the source's `event_types`");
        Error::new(ErrorCode::InvalidRequest, message)
    })
}

/// The key that the source's template finds, else the scheme's own. A request without one is
/// accepted all the same: nobody can tell whether it is a repeat.
fn idempotency_key(door: &Door, request: Request<'_>) -> Result<Option<String>> {
    let key = match &door.idempotency_key {
        None => delivery_id(door, request),
        Some(template) => match template.fill(request) {
            Ok(key) => Some(key),
            Err(Unfilled::Missing(_)) => None,
            Err(Unfilled::Refused(error)) => return Err(error),
        },
    };
    key.as_deref().map(check_idempotency_key).transpose()?;
    Ok(key)
}

/// The scheme's own, as far as the request has it: nobody asked for it.
fn delivery_id(door: &Door, request: Request<'_>) -> Option<String> {
    let own = door.verifier.delivery_id(request.headers).map(str::to_owned);
    own.or_else(|| door.delivery_id.fill(request).ok().filter(|key| !key.is_empty()))
}

/// Whoever sends the same signature again is told of the first time. The broker remembers keys for
/// its window, on disk and for all replicas.
fn replay_key(proof: &Proof) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &proof.bytes);
    format!("signature-{}", hex::encode(&digest.as_ref()[..16]))
}
