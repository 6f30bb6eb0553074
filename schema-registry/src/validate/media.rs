//! Which encoding a payload has.

use super::malformed;
use contract::{Error, ErrorCode, Result};
use std::borrow::Cow;

/// An encoding that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Protobuf,
    /// A form with a field `payload` that holds JSON, as GitHub sends it.
    Form,
}

impl Media {
    /// Reads a `Content-Type` (RFC 9110, section 8.3). Errors: `unsupported_media_type`.
    pub(super) fn of(content_type: &str) -> Result<Self> {
        let mut parts = content_type.split(';');
        let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
        let media = match essence.as_str() {
            "application/json" => Self::Json,
            "application/protobuf" | "application/x-protobuf" => return Ok(Self::Protobuf),
            "application/x-www-form-urlencoded" => Self::Form,
            other if other.contains('/') && other.ends_with("+json") => Self::Json,
            _ => return Err(unsupported(content_type, "")),
        };
        let charset = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        });
        let is_utf8 = |charset: &str| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        };
        match charset {
            Some(charset) if !is_utf8(charset) => Err(unsupported(content_type, " in UTF-8")),
            _ => Ok(media),
        }
    }
}

fn unsupported(content_type: &str, detail: &str) -> Error {
    let shown: String = content_type.chars().take(80).collect();
    let message = format!(
        "the content type `{shown}` cannot be checked; send application/json (or ...+json){detail}, \
         application/protobuf, or a form with a field `payload`"
    );
    Error::new(ErrorCode::UnsupportedMediaType, message)
}

/// The JSON in the one field `payload` of a form (URL Standard, section 5.1).
pub(super) fn form_payload(form: &[u8]) -> Result<Vec<u8>> {
    let mut payload = None;
    for pair in form.split(|byte| *byte == b'&') {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, [].as_slice()),
        };
        if decoded(name)?.as_ref() != b"payload" {
            continue;
        }
        if payload.replace(value).is_some() {
            return Err(malformed("the form has more than one field `payload`"));
        }
    }
    match payload {
        Some(value) => decoded(value).map(Cow::into_owned),
        None => Err(malformed("the form has no field `payload`")),
    }
}

/// Undoes `+` and percent-encoding; a `%` without two hex digits is malformed.
fn decoded(text: &[u8]) -> Result<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                _ => return Err(malformed("the form has a `%` without two hex digits")),
            },
            other => *other,
        });
    }
    Ok(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for (text, media) in [
            ("application/json", Media::Json),
            ("Application/JSON; charset=UTF-8", Media::Json),
            ("application/vnd.github+json; v=3; Charset=\"utf-8\"", Media::Json),
            ("application/protobuf; messageType=a.B", Media::Protobuf),
            ("application/x-protobuf", Media::Protobuf),
            ("application/x-www-form-urlencoded", Media::Form),
        ] {
            assert_eq!(Media::of(text), Ok(media), "{text}");
        }
        for text in ["", "text/plain", "json", "+json", "application/json; charset=latin1"] {
            let error = Media::of(text).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType, "{text}");
        }
    }

    #[test]
    fn forms() {
        let json = form_payload(b"a=b&pay%6Coad=%7B%22a%22%3A+1%7D&c").unwrap();
        assert_eq!(json, br#"{"a": 1}"#);
        for form in ["", "a=b", "payload=1&payload=2", "payload=%7", "payload=%zz"] {
            let error = form_payload(form.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::MalformedPayload, "{form}");
        }
    }
}
