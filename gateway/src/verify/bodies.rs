//! Providers that sign the body alone: most of them.

use super::{
    Claim, Head, Signed,
    read::{Window, decode, named, refuse, required, signature, signatures, text},
};
use crate::json_path;
use contract::{
    Result,
    source::{Encoding, TimeUnit},
};

/// A signature in one header, after a prefix.
pub(super) fn claim(
    head: Head<'_>,
    header: &'static str,
    prefix: &str,
    encoding: Encoding,
) -> Result<Claim> {
    let signature = signature(head.headers, header, prefix, encoding)?;
    Ok(Claim::around(header, vec![signature], Vec::new(), Vec::new()))
}

/// Hookdeck signs under two secrets while one takes the place of the other, in a header each.
pub(super) fn hookdeck(head: Head<'_>) -> Result<Claim> {
    let header = "x-hookdeck-signature";
    let mut found = vec![signature(head.headers, header, "", Encoding::Base64)?];
    let second = text(head.headers, "x-hookdeck-signature-2");
    found.extend(second.and_then(|text| decode(Encoding::Base64, text)));
    Ok(Claim::around(header, found, Vec::new(), Vec::new()))
}

/// Outpost: `v0=` and hex, several between commas.
pub(super) fn outpost(head: Head<'_>) -> Result<Claim> {
    let header = "x-outpost-signature";
    let value = required(head.headers, header)?;
    // The first has the name, those after it go without.
    let bare = value.split(',').skip(1).map(|item| decode(Encoding::Hex, item.trim()));
    let found = signatures(header, named(value, "v0").chain(bare), "v0=HEX")?;
    Ok(Claim::around(header, found, Vec::new(), Vec::new()))
}

/// Linear signs the body, which tells the time in its field `webhookTimestamp`.
pub(super) fn linear(head: Head<'_>, window: Window) -> Result<Claim> {
    let claim = claim(head, "linear-signature", "", Encoding::Hex)?;
    Ok(Claim { signed: Signed::Timed { window }, ..claim })
}

/// Once the signature is right: is the signed time?
pub(super) fn linear_time(window: Window, body: &[u8]) -> Result<()> {
    let field = "webhookTimestamp";
    let found = json_path::find(body, &[field.to_owned()]).ok().flatten();
    let found = found.ok_or_else(|| refuse(format!("the field `{field}` is missing")))?;
    window.check(field, &found, TimeUnit::Milliseconds)
}

/// HubSpot version 1: SHA-256 over the secret and the body.
pub(super) fn hubspot_v1(head: Head<'_>) -> Result<Claim> {
    claim(head, "x-hubspot-signature", "", Encoding::Hex)
}
