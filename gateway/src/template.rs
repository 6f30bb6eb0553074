//! Templates of a source, filled from a request: where the event type and the key against repeats
//! are found.

use crate::json_path;
use contract::{
    Error, ErrorCode,
    source::{Piece, Template},
};
use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

/// A [`Template`] whose holes are ready to be filled.
#[derive(Debug, Clone)]
pub(crate) struct Filler {
    parts: Vec<Part>,
    /// A value must not bring segments of its own.
    whole_segments: bool,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Header(HeaderName),
    Json(Vec<String>),
}

/// What holes are filled from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) headers: &'r HeaderMap,
    pub(crate) content_type: &'r str,
    pub(crate) body: &'r [u8],
}

/// Why a template could not be filled.
#[derive(Debug, PartialEq)]
pub(crate) enum Unfilled {
    /// The request has nothing there: what was looked for.
    Missing(String),
    /// The request cannot be used at all.
    Refused(Error),
}

impl Filler {
    /// Prepares a template of an event URI, or says what is wrong with it. A value that stands
    /// beside other text fills one segment: with a `/` in it, a sender could reach event types
    /// that the template does not mean.
    pub(crate) fn of_uri(template: &Template) -> Result<Self, String> {
        let parts = parts(template)?;
        Ok(Self { whole_segments: parts.len() > 1, parts })
    }

    /// Prepares a template of any text, or says what is wrong with it.
    pub(crate) fn of_text(template: &Template) -> Result<Self, String> {
        Ok(Self { whole_segments: false, parts: parts(template)? })
    }

    /// The text with all holes filled.
    pub(crate) fn fill(&self, request: Request<'_>) -> Result<String, Unfilled> {
        let mut filled = String::new();
        let mut json = None;
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Header(name) => {
                    let value = request.headers.get(name).and_then(|value| value.to_str().ok());
                    let what = || format!("the header `{name}`");
                    filled.push_str(&self.value(value.map(Cow::Borrowed), what)?);
                }
                Part::Json(path) => {
                    let view = json.get_or_insert_with(|| view(request));
                    let found = json_path::find(view, path).map_err(not_json)?;
                    let what = || format!("the field `{}` of the JSON body", path.join("."));
                    filled.push_str(&self.value(found.map(Cow::Owned), what)?);
                }
            }
        }
        Ok(filled)
    }

    fn value<'v>(
        &self,
        value: Option<Cow<'v, str>>,
        what: impl Fn() -> String,
    ) -> Result<Cow<'v, str>, Unfilled> {
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Unfilled::Missing(what()))?;
        if self.whole_segments && value.contains('/') {
            let message = format!("{} must not contain `/`", what());
            return Err(Unfilled::Refused(Error::new(ErrorCode::InvalidRequest, message)));
        }
        Ok(value)
    }
}

fn parts(template: &Template) -> Result<Vec<Part>, String> {
    let part = |piece: Piece<'_>| {
        Ok(match piece {
            Piece::Text(text) => Part::Text(text.to_owned()),
            Piece::Header(name) => Part::Header(
                name.parse().map_err(|_name| format!("`{name}` is no name of a header"))?,
            ),
            Piece::Json(path) => Part::Json(path.split('.').map(str::to_owned).collect()),
        })
    };
    template.pieces()?.into_iter().map(part).collect()
}

/// The JSON of a body: itself, or the field `payload` of a form (docs.github.com, "Webhook
/// content types").
fn view(request: Request<'_>) -> Cow<'_, [u8]> {
    if !is_form(request.content_type) {
        return Cow::Borrowed(request.body);
    }
    let mut fields = url::form_urlencoded::parse(request.body);
    match fields.find(|(name, _)| name == "payload") {
        Some((_, Cow::Borrowed(payload))) => Cow::Borrowed(payload.as_bytes()),
        Some((_, Cow::Owned(payload))) => Cow::Owned(payload.into_bytes()),
        None => Cow::Borrowed(&[]),
    }
}

pub(crate) fn is_form(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn not_json(error: serde_json::Error) -> Unfilled {
    let message = format!("the body is not valid JSON: {error}");
    Unfilled::Refused(Error::new(ErrorCode::MalformedPayload, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, content_type: &str, body: &str) -> Result<String, Unfilled> {
        let filler = Filler::of_uri(&Template(template.to_owned())).unwrap();
        fill_with(&filler, content_type, body)
    }

    fn fill_with(filler: &Filler, content_type: &str, body: &str) -> Result<String, Unfilled> {
        let mut headers = HeaderMap::new();
        headers.insert("x-kind", "push".parse().unwrap());
        headers.insert("x-sly", "a/2/b".parse().unwrap());
        headers.insert("x-empty", "".parse().unwrap());
        filler.fill(Request { headers: &headers, content_type, body: body.as_bytes() })
    }

    #[test]
    fn holes_are_filled_from_headers_json_and_forms() {
        let json = r#"{"repository": {"name": "certes", "id": 7}}"#;
        assert_eq!(fill("github/1/{header:X-Kind}", "", "").unwrap(), "github/1/push");
        let both = "{json:repository.name}/1/{json:repository.id}";
        assert_eq!(fill(both, "application/json", json).unwrap(), "certes/1/7");
        let form =
            "x=1&payload=%7B%22repository%22%3A+%7B%22name%22%3A+%22certes%22%2C%22id%22%3A7%7D%7D";
        let media_type = "Application/X-WWW-Form-URLencoded; charset=utf-8";
        assert_eq!(fill(both, media_type, form).unwrap(), "certes/1/7");
        assert_eq!(fill("a/1/b", "", "not json").unwrap(), "a/1/b");
        assert_eq!(fill("{header:x-sly}", "", "").unwrap(), "a/2/b");
        let key = Filler::of_text(&Template("{header:x-kind}-{header:x-sly}".into())).unwrap();
        assert_eq!(fill_with(&key, "", "").unwrap(), "push-a/2/b");
    }

    #[test]
    fn what_cannot_be_filled_says_why() {
        let missing = |result| matches!(result, Err(Unfilled::Missing(_)));
        assert!(missing(fill("a/1/{header:x-none}", "", "")));
        assert!(missing(fill("a/1/{header:x-empty}", "", "")));
        assert!(missing(fill("a/1/{json:type}", "", "{}")));
        let refused = |result, code| match result {
            Err(Unfilled::Refused(error)) => assert_eq!(error.code, code),
            other => panic!("{other:?}"),
        };
        refused(fill("a/1/{json:type}", "", "{"), ErrorCode::MalformedPayload);
        refused(
            fill("a/1/{json:type}", "application/x-www-form-urlencoded", "a=b"),
            ErrorCode::MalformedPayload,
        );
        refused(fill("a/1/{header:x-sly}", "", ""), ErrorCode::InvalidRequest);
    }
}
