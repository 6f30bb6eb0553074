//! Proofs that a source describes itself: `hmac`, `basic`, `api-key`.

use super::{
    Claim, Head, Settings,
    read::{refuse, required, signature, text},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    Result,
    source::{ContentPiece, SignatureRule},
};
use http::HeaderMap;

/// HMAC over what the rule of the source says.
pub(super) fn hmac(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let rule = &settings.rule;
    let header = rule.header.as_deref().unwrap_or("x-signature");
    let prefix = rule.prefix.as_deref().unwrap_or("");
    if let Some(name) = &rule.timestamp_header {
        let time = required(head.headers, name)?;
        settings.window(head.now).check(name, time, rule.timestamp_unit)?;
    }
    let found = signature(head.headers, header, prefix, rule.encoding)?;
    let [mut before, mut after] = [Vec::new(), Vec::new()];
    let mut side = &mut before;
    for piece in rule.content().map_err(refuse)? {
        match piece {
            ContentPiece::Text(text) => side.extend_from_slice(text.as_bytes()),
            ContentPiece::Id => side.extend(filled(head.headers, rule.id_header.as_deref())?),
            ContentPiece::Timestamp => {
                side.extend(filled(head.headers, rule.timestamp_header.as_deref())?);
            }
            ContentPiece::Url => side.extend(settings.url(head).into_bytes()),
            ContentPiece::Method => side.extend_from_slice(head.method.as_str().as_bytes()),
            ContentPiece::Body => side = &mut after,
        }
    }
    Ok(Claim::around(header, vec![found], before, after))
}

fn filled<'h>(headers: &'h HeaderMap, name: Option<&str>) -> Result<&'h [u8]> {
    name.map_or(Ok(&[][..]), |name| required(headers, name).map(str::as_bytes))
}

/// The key against repeats where the rule names its header.
pub(super) fn delivery_id<'h>(rule: &SignatureRule, headers: &'h HeaderMap) -> Option<&'h str> {
    text(headers, rule.id_header.as_deref()?)
}

/// `Authorization: Basic` and base64 of `user:password` (RFC 7617).
pub(super) fn basic(head: Head<'_>) -> Result<Claim> {
    let header = "authorization";
    let value = required(head.headers, header)?;
    let scheme = value.get(..6).filter(|scheme| scheme.eq_ignore_ascii_case("basic "));
    let shown = scheme.and_then(|_| STANDARD.decode(value[6..].trim()).ok());
    let shown = shown.ok_or_else(|| {
        refuse(format!("`{header}` must have the form `Basic` and base64 of `user:password`"))
    })?;
    Ok(Claim::shown(header, shown))
}

/// A key in a header, after a prefix.
pub(super) fn api_key(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = settings.rule.header.as_deref().unwrap_or("x-api-key");
    let prefix = settings.rule.prefix.as_deref().unwrap_or("");
    let shown = required(head.headers, header)?.strip_prefix(prefix);
    let shown = shown.ok_or_else(|| refuse(format!("`{header}` must begin with `{prefix}`")))?;
    Ok(Claim::shown(header, shown.as_bytes().to_vec()))
}
