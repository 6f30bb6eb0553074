//! Questions by which a third party finds out whether a door is ours. They are answered and make no
//! event; a question that its provider signs is answered only when it is signed.

use crate::{json_path, respond, sources::Door, verify::Proof};
use axum::response::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{Error, ErrorCode, Result, source::Scheme};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

/// The longest text that is given back, in bytes.
const ECHOED_BYTES_MAX: usize = 2048;
/// The longest name of a sender's host.
const ORIGIN_BYTES_MAX: usize = 253;

/// Answers `GET /events/{source}`: CRC of X, and the question of Meta. Errors:
/// `method_not_allowed` where the source's provider asks nothing; `invalid_signature`.
pub(crate) fn get(door: &Door, query: Option<&str>) -> Result<Response> {
    match door.source.spec.verify {
        Scheme::X => crc(door, query),
        Scheme::Meta => hub(door, query),
        _ => {
            let message = "a source takes POST; its provider asks nothing by GET";
            Err(Error::new(ErrorCode::MethodNotAllowed, message))
        }
    }
}

/// What the URL of a POST asks: Microsoft Graph validates an address so before it has anything to
/// sign with.
pub(crate) fn of_query(door: &Door, query: Option<&str>) -> Option<Result<Response>> {
    if door.source.spec.verify != Scheme::MicrosoftGraph {
        return None;
    }
    let token = field(query, "validationToken")?;
    Some(echo(&token))
}

/// What a verified body asks: Slack, Zoom, Discord.
pub(crate) fn of_body(door: &Door, proof: &Proof, body: &[u8]) -> Option<Result<Response>> {
    let at = |path: &[&str]| {
        let path: Vec<_> = path.iter().map(|name| (*name).to_owned()).collect();
        json_path::find(body, &path).ok().flatten()
    };
    match door.source.spec.verify {
        Scheme::Slack if at(&["type"])? == "url_verification" => {
            Some(echo(&at(&["challenge"]).unwrap_or_default()))
        }
        Scheme::Zoom if at(&["event"])? == "endpoint.url_validation" => {
            let token = at(&["payload", "plainToken"]).unwrap_or_default();
            Some(plain_token(&token).map(|()| {
                let encrypted = hex::encode(door.verifier.mac(proof.key, token.as_bytes()));
                respond::json(
                    StatusCode::OK,
                    "application/json",
                    &json!({"plainToken": token, "encryptedToken": encrypted}),
                )
            }))
        }
        Scheme::Discord if at(&["type"])? == "1" => {
            Some(Ok(respond::json(StatusCode::OK, "application/json", &json!({"type": 1}))))
        }
        _ => None,
    }
}

/// Answers `OPTIONS /events/{source}`: may this sender deliver here (CloudEvents, "HTTP 1.1 Web
/// Hooks", 4)? Errors: `permission_denied`, `invalid_request`.
pub(crate) fn handshake(door: &Door, headers: &HeaderMap) -> Result<Response> {
    let name = "webhook-request-origin";
    let origin = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX || !origin.bytes().all(host) {
        let message = format!("the header `{name}` must name the sender's host");
        return Err(Error::new(ErrorCode::InvalidRequest, message));
    }
    let origins = &door.source.spec.origins;
    if !origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin)) {
        let message = format!("the source takes nothing from `{origin}`: see its `origins`");
        return Err(Error::new(ErrorCode::PermissionDenied, message));
    }
    let rate = door.source.spec.limits.requests_per_second;
    let rate = rate.map_or("*".to_owned(), |rate| (u64::from(rate) * 60).to_string());
    let mut response = respond::plain(StatusCode::OK, "text/plain", String::new());
    let said = [("webhook-allowed-origin", origin), ("webhook-allowed-rate", &rate)];
    for (name, value) in said.into_iter().chain([("allow", "POST")]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// X asks for a MAC of a text of its choice, and does not sign the question. What looks like the
/// body of a webhook gets none: it would be that webhook's signature.
fn crc(door: &Door, query: Option<&str>) -> Result<Response> {
    let token = field(query, "crc_token")
        .ok_or_else(|| Error::new(ErrorCode::InvalidRequest, "`crc_token` is missing"))?;
    plain_token(&token)?;
    let mac = STANDARD.encode(door.verifier.mac(0, token.as_bytes()));
    let answer = json!({"response_token": format!("sha256={mac}")});
    Ok(respond::json(StatusCode::OK, "application/json", &answer))
}

/// Meta shows the verify token that it was given.
fn hub(door: &Door, query: Option<&str>) -> Result<Response> {
    let token = field(query, "hub.verify_token").unwrap_or_default();
    if field(query, "hub.mode").as_deref() != Some("subscribe") || !door.verifier.knows(&token) {
        let message = "`hub.verify_token` is none of the source's";
        return Err(Error::new(ErrorCode::InvalidSignature, message));
    }
    let challenge = field(query, "hub.challenge").unwrap_or_default();
    plain_token(&challenge)?;
    echo(&challenge)
}

/// Gives a text back as nothing but text.
fn echo(text: &str) -> Result<Response> {
    if text.is_empty() || text.len() > ECHOED_BYTES_MAX || text.chars().any(char::is_control) {
        let message = format!("the challenge must have 1 to {ECHOED_BYTES_MAX} visible bytes");
        return Err(Error::new(ErrorCode::InvalidRequest, message));
    }
    Ok(respond::plain(StatusCode::OK, "text/plain; charset=utf-8", text.to_owned()))
}

/// Letters, digits and what base64 has beside them: no JSON of an object, no header.
fn plain_token(text: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~+/=".contains(&b);
    if !text.is_empty() && text.len() <= ECHOED_BYTES_MAX && text.bytes().all(plain) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::InvalidRequest, "the token has characters that no provider sends"))
}

fn field(query: Option<&str>, name: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(query?.as_bytes());
    fields.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}
