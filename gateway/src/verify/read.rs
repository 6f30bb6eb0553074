//! Reading claims out of headers.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    source::{Encoding, TimeUnit},
};
use http::HeaderMap;

/// Signatures looked at in one header; a rotation needs two.
pub(super) const SIGNATURES_MAX: usize = 16;

/// The value of a header that is there, readable and not empty.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

pub(super) fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str> {
    text(headers, name).ok_or_else(|| refuse(format!("the header `{name}` is missing")))
}

pub(super) fn refuse(message: String) -> Error {
    Error::new(ErrorCode::InvalidSignature, message)
}

/// The bytes of a signature; None: it is not written so.
pub(super) fn decode(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    let bytes = match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    bytes.filter(|bytes| !bytes.is_empty())
}

/// The signature of a header that holds one, after a prefix.
pub(super) fn signature(
    headers: &HeaderMap,
    header: &str,
    prefix: &str,
    encoding: Encoding,
) -> Result<Vec<u8>> {
    let value = required(headers, header)?;
    value.strip_prefix(prefix).and_then(|text| decode(encoding, text)).ok_or_else(|| {
        let written = match encoding {
            Encoding::Hex => "hexadecimal digits",
            Encoding::Base64 => "base64",
        };
        refuse(match prefix {
            "" => format!("`{header}` is not {written}"),
            _ => format!("`{header}` must have the form `{prefix}` and {written}"),
        })
    })
}

/// All signatures of one header: what is no signature of the wanted kind is left aside, because
/// providers add kinds.
pub(super) fn signatures(
    header: &str,
    found: impl Iterator<Item = Option<Vec<u8>>>,
    form: &str,
) -> Result<Vec<Vec<u8>>> {
    let signatures: Vec<_> = found.flatten().take(SIGNATURES_MAX).collect();
    match signatures.is_empty() {
        true => Err(refuse(format!("`{header}` has no signature `{form}`"))),
        false => Ok(signatures),
    }
}

/// A bound on how far a signed time may be from now, both ways; None: any time is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) now: Timestamp,
    pub(super) tolerance_s: Option<u32>,
}

impl Window {
    /// Refuses what is no time, or is too far away. `name`: where it was found.
    pub(super) fn check(self, name: &str, text: &str, unit: TimeUnit) -> Result<()> {
        let (named, per_second) = match unit {
            TimeUnit::Seconds => ("seconds", 1),
            TimeUnit::Milliseconds => ("milliseconds", 1000),
        };
        let time: i64 = text
            .parse()
            .map_err(|_digits| refuse(format!("`{name}` is not whole unix {named}")))?;
        let Some(tolerance_s) = self.tolerance_s else { return Ok(()) };
        let now = self.now.unix_seconds().saturating_mul(per_second);
        let bound = u64::from(tolerance_s).saturating_mul(per_second.unsigned_abs());
        if time.abs_diff(now) > bound {
            return Err(refuse(format!("`{name}` is more than {tolerance_s} s from now")));
        }
        Ok(())
    }
}

/// The items of a list as in `t=1,v1=ab,v1=cd`.
pub(super) fn items(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(',').filter_map(|item| item.trim().split_once('='))
}

/// All items of one name, in hex.
pub(super) fn named<'l>(list: &'l str, name: &str) -> impl Iterator<Item = Option<Vec<u8>>> {
    let named = move |(found, value): (&'l str, &'l str)| (found == name).then_some(value);
    items(list).filter_map(named).map(|value| decode(Encoding::Hex, value))
}
