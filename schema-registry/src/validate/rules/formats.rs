//! Text forms that rules name: mail addresses, ids, names of protobuf, header fields.

use super::addresses::is_label;

/// As HTML forms check it (HTML Living Standard, "Valid e-mail address").
pub(super) fn is_email(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && local.bytes().all(plain) && domain.split('.').all(is_label)
    })
}

/// RFC 9562, as in `0190163d-8694-739b-aea5-966c26f8ad91`.
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<_> = text.splitn(6, '-').collect();
    parts.len() == lengths.len()
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && is_hex(part))
}

/// A UUID without hyphens.
pub(super) fn is_trimmed_uuid(text: &str) -> bool {
    text.len() == 32 && is_hex(text)
}

/// 26 characters of Crockford's base 32 that fit 128 bits.
pub(super) fn is_ulid(text: &str) -> bool {
    let digit = |b: u8| {
        b.is_ascii_alphanumeric() && !matches!(b.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U')
    };
    text.len() == 26 && text.bytes().all(digit) && matches!(text.as_bytes()[0], b'0'..=b'7')
}

/// As in `google.protobuf.Any`.
pub(super) fn is_protobuf_name(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment.bytes().all(word)
            && !segment.starts_with(|first: char| first.is_ascii_digit())
    };
    text.split('.').all(segment)
}

/// As in `.google.protobuf.Any`.
pub(super) fn is_dotted_protobuf_name(text: &str) -> bool {
    text.strip_prefix('.').is_some_and(is_protobuf_name)
}

/// RFC 9110, or a pseudo header of HTTP/2.
pub(super) fn is_header_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

/// Anything that cannot end the header.
pub(super) fn is_loose_header_name(text: &str) -> bool {
    !text.is_empty() && is_loose_header_value(text)
}

/// Visible text, spaces and tabs.
pub(super) fn is_header_value(text: &str) -> bool {
    !text.bytes().any(|b| matches!(b, 0..=8 | 10..=31 | 127))
}

/// Anything that cannot end the header.
pub(super) fn is_loose_header_value(text: &str) -> bool {
    !text.contains(['\0', '\n', '\r'])
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn table(is: fn(&str) -> bool, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(is(text), "{text}");
        }
        for text in no {
            assert!(!is(text), "{text}");
        }
    }

    #[test]
    fn forms() {
        table(
            is_email,
            &["a@b", "a.b+c@d-e.com"],
            &["", "a", "@b", "a@", "a@b@c", "a b@c", "a@-b"],
        );
        let uuid = "0190163d-8694-739b-aea5-966c26f8ad91";
        let bad =
            ["", "0190163d-8694-739b-aea5966c26f8ad91", "0190163g-8694-739b-aea5-966c26f8ad91"];
        table(is_uuid, &[uuid], &bad);
        table(is_trimmed_uuid, &[&uuid.replace('-', "")], &[uuid, ""]);
        let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        table(is_ulid, &[ulid, &ulid.to_lowercase()], &["", "81ARZ3NDEKTSV4RRFFQ69G5FAV", "01U"]);
        table(is_protobuf_name, &["a", "a.B_1"], &["", "a.", ".a", "1a", "a b"]);
        table(is_dotted_protobuf_name, &[".a.b"], &["a.b", "."]);
        table(is_header_name, &["X-Y", ":path"], &["", ":", "a b", "ä"]);
        table(is_header_value, &["", "a\tb", "ä"], &["a\nb", "\u{7f}"]);
        table(is_loose_header_name, &["a b"], &["", "a\n"]);
    }
}
