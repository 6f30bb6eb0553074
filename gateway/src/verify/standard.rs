//! Standard Webhooks 1.0.0, and GitLab, which has come to it.

use super::{
    Claim, Head, Settings,
    read::{decode, refuse, required, signatures, text},
};
use contract::{
    Result,
    source::{Encoding, TimeUnit},
};
use http::HeaderMap;

/// `v1` is HMAC-SHA256 and `v1a` ed25519, both over `id.timestamp.body` and in base64.
pub(super) fn claim(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let [id_name, timestamp_name, signature_name] = names(head.headers);
    let id = required(head.headers, id_name)?;
    let timestamp = required(head.headers, timestamp_name)?;
    let list = required(head.headers, signature_name)?;
    if id.contains('.') {
        // The dot separates what is signed: an id with one could borrow from its neighbours.
        return Err(refuse(format!("`{id_name}` must not contain a dot")));
    }
    settings.window(head.now).check(timestamp_name, timestamp, TimeUnit::Seconds)?;
    // Shared keys make 32 bytes and key pairs 64: a signature fits its own kind of key alone.
    let wanted = |item: &str| {
        let (version, length) = if item.starts_with("v1,") { ("v1,", 32) } else { ("v1a,", 64) };
        let bytes = decode(Encoding::Base64, item.strip_prefix(version)?)?;
        (bytes.len() == length).then_some(bytes)
    };
    let signatures = signatures(signature_name, list.split(' ').map(wanted), "v1,BASE64")?;
    let before = format!("{id}.{timestamp}.").into_bytes();
    Ok(Claim::around(signature_name, signatures, before, Vec::new()))
}

/// The id that stays the same when a delivery is repeated.
pub(super) fn delivery_id(headers: &HeaderMap) -> Option<&str> {
    text(headers, names(headers)[0])
}

/// GitLab signs where it has a signing token (`whsec_`), and shows its secret token where it has
/// one. A source whose secrets are signing tokens alone takes nothing but signatures.
pub(super) fn gitlab(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-gitlab-token";
    let signed = head.headers.contains_key("webhook-signature");
    if settings.signing_token && (signed || !head.headers.contains_key(header)) {
        return claim(settings, head);
    }
    let token = required(head.headers, header)?;
    Ok(Claim::shown(header, token.as_bytes().to_vec()))
}

/// The headers of Standard Webhooks, or those of Svix where it came from.
fn names(headers: &HeaderMap) -> [&'static str; 3] {
    if !headers.contains_key("webhook-id") && headers.contains_key("svix-id") {
        ["svix-id", "svix-timestamp", "svix-signature"]
    } else {
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
    }
}
