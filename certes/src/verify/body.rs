//! What commonly becomes of a body before its signature is checked, undone: line ends, marks, and
//! JSON that was parsed and written anew. Numbers and the order of keys stay as they are: what is
//! lost of them cannot be found again.

/// Bodies that this one may have been, each with how it differs.
pub(super) fn variants(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |how: &str, bytes: Vec<u8>| {
        if bytes != body && !found.iter().any(|(_, known)| *known == bytes) {
            found.push((how.to_owned(), bytes));
        }
    };
    let trimmed = body.trim_ascii_end();
    add("without the line end at its end", trimmed.to_vec());
    add("with a line end at its end", [body, b"\n"].concat());
    add("with CR and LF at its end", [trimmed, b"\r\n"].concat());
    add(
        "without the byte order mark at its beginning",
        body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).to_vec(),
    );
    let text = String::from_utf8_lossy(body);
    add("with LF in the place of CR and LF", text.replace("\r\n", "\n").into_bytes());
    add(
        "with CR and LF in the place of LF",
        text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes(),
    );
    add(
        "that it is when its base64 is decoded",
        super::key::decode(text.trim()).unwrap_or_default(),
    );
    let Ok(text) = std::str::from_utf8(trimmed) else { return found };
    let text = text.trim_start_matches('\u{feff}').trim();
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return found;
    }
    for (style, how) in STYLES {
        for (strings, with) in STRINGS {
            let written = write(text, *style, *strings);
            add(&format!("that is the same JSON {how}{with}"), written.clone().into_bytes());
            add(
                &format!("that is the same JSON {how}{with} and a line end at its end"),
                (written + "\n").into_bytes(),
            );
        }
    }
    found
}

/// Where JSON has white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Compact,
    /// As Python prints it.
    Spaced,
    /// In lines, each level so far to the right.
    Indented(&'static str),
}

const STYLES: &[(Style, &str)] = &[
    (Style::Compact, "without white space"),
    (Style::Spaced, "with a space after each colon and comma"),
    (Style::Indented("  "), "in lines indented by two"),
    (Style::Indented("    "), "in lines indented by four"),
    (Style::Indented("\t"), "in lines indented by tabs"),
];

/// How strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strings {
    AsTheyAre,
    /// What is not ASCII is escaped.
    Ascii,
    /// What need not be escaped is not.
    Plain,
    /// As PHP does: ASCII alone, and slashes escaped.
    Slashes,
}

const STRINGS: &[(Strings, &str)] = &[
    (Strings::AsTheyAre, ""),
    (Strings::Ascii, ", with \\u for what is not ASCII"),
    (Strings::Plain, ", without \\u where it need not be"),
    (Strings::Slashes, ", with \\/ for slashes and \\u for what is not ASCII"),
];

/// Writes a JSON text anew; its tokens stay in their order.
fn write(text: &str, style: Style, strings: Strings) -> String {
    let (mut out, mut depth, mut rest) = (String::with_capacity(text.len() * 2), 0_usize, text);
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => string_length(rest),
            _ => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '"' => out.push_str(&string(token, strings)),
            '{' | '[' => {
                out.push(c);
                // What is empty stays on its line.
                let next = rest.trim_start();
                if next.starts_with(['}', ']']) {
                    continue;
                }
                depth += 1;
                line(&mut out, style, depth);
            }
            '}' | ']' => {
                if !out.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, style, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                if style == Style::Spaced {
                    out.push(' ');
                }
                line(&mut out, style, depth);
            }
            ':' => {
                out.push(c);
                if style != Style::Compact {
                    out.push(' ');
                }
            }
            _ => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, style: Style, depth: usize) {
    if let Style::Indented(by) = style {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(by));
    }
}

/// How many bytes a string has that begins here, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn string(token: &str, strings: Strings) -> String {
    if strings == Strings::AsTheyAre {
        return token.to_owned();
    }
    let plain = serde_json::from_str::<String>(token).ok();
    let Some(plain) = plain.and_then(|text| serde_json::to_string(&text).ok()) else {
        return token.to_owned();
    };
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match (c, strings) {
            ('/', Strings::Slashes) => out.push_str("\\/"),
            (c, Strings::Ascii | Strings::Slashes) if !c.is_ascii() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: &str = r#"{"a":[1,{"b":"x/ü🦀\"}"}],"c":{},"d":[],"e":1.0e2}"#;

    #[test]
    fn what_was_signed_is_among_what_it_may_have_been() {
        let pretty = write(COMPACT, Style::Indented("  "), Strings::AsTheyAre);
        assert_eq!(
            pretty,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x/ü🦀\\\"}\"\n    }\n  ],\n  \"c\": {},\n  \"d\": [],\n  \"e\": 1.0e2\n}"
        );
        let php = write(COMPACT, Style::Compact, Strings::Slashes);
        assert_eq!(php, r#"{"a":[1,{"b":"x\/\u00fc\ud83e\udd80\"}"}],"c":{},"d":[],"e":1.0e2}"#);
        let python = write(COMPACT, Style::Spaced, Strings::Ascii);
        let forms = [COMPACT.to_owned(), pretty, php, python, format!("{COMPACT}\n")];
        for received in &forms {
            for signed in &forms {
                let found = variants(received.as_bytes());
                let is_there = found.iter().any(|(_, body)| body == signed.as_bytes());
                assert!(is_there || signed == received, "{signed} of {received}");
            }
        }
    }

    #[test]
    fn what_is_no_json_is_only_trimmed() {
        let found = variants(b"plain text\r\n");
        assert!(
            found
                .iter()
                .any(|(how, body)| how.contains("without the line") && body == b"plain text")
        );
        assert!(!found.iter().any(|(how, _)| how.contains("JSON")));
        assert!(variants(b"").iter().all(|(_, body)| !body.is_empty()));
    }
}
