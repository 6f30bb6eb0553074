//! A first look at a `.proto` text, before a parser sees it that follows any nesting and any text
//! as deep as it goes, on the stack.

use super::invalid;
use crate::Config;
use contract::Result;

/// Deepest nesting of braces, brackets and parentheses.
const NESTING_MAX: usize = 64;
/// Longest line, in bytes; no text in quotes is longer.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// How many statements may still come: what a compiler costs grows with them, and not with bytes.
/// Each `;`, `{` and `,` is one, so that fields, values of enums, messages and options count.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: usize,
    max: usize,
    setting: &'static str,
    /// Was there one too many?
    pub is_spent: bool,
}

impl Budget {
    /// Of one schema with all that it imports.
    pub(crate) const fn of_schema(config: &Config) -> Self {
        Self::new(config.statements_max, "statements_max")
    }

    /// Of all schemas that are published together.
    pub(crate) const fn of_set(config: &Config) -> Self {
        Self::new(config.set_statements_max, "set_statements_max")
    }

    const fn new(max: usize, setting: &'static str) -> Self {
        Self { left: max, max, setting, is_spent: false }
    }

    fn spend(&mut self) -> std::result::Result<(), String> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Ok(());
        }
        self.is_spent = true;
        let (max, setting) = (self.max, self.setting);
        let files = match setting {
            "statements_max" => "the schema and what it imports",
            _ => "the schemas, each with all that it imports,",
        };
        Err(format!(
            "{files} have more than {max} statements up to here (`schema_registry.{setting}`; each \
             `;`, `{{` and `,` counts)"
        ))
    }
}

/// Refuses what would exhaust a parser's stack, or its budget.
/// Errors: `invalid_definition` with line and column.
pub(super) fn scan(path: &str, text: &str, budget: &mut Budget) -> Result<()> {
    let refuse = |at: usize, what: String| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Err(invalid(format!("{path}:{line}:{column}: {what}")))
    };
    let (bytes, mut at, mut depth, mut line_start) = (text.as_bytes(), 0, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => line_start = at,
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if matches!(byte, b';' | b'{' | b',')
            && let Err(refusal) = budget.spend()
        {
            return refuse(at, refusal);
        }
        if depth > NESTING_MAX {
            return refuse(at, format!("more than {NESTING_MAX} brackets inside each other"));
        }
        if at - line_start > LINE_BYTES_MAX {
            return refuse(at, format!("a line of more than {LINE_BYTES_MAX} bytes"));
        }
        at += match (byte, bytes.get(at + 1)) {
            (b'"' | b'\'', _) => text_length(&bytes[at..]),
            (b'/', Some(b'/')) => comment_length(&bytes[at..], b"\n"),
            (b'/', Some(b'*')) => comment_length(&bytes[at..], b"*/"),
            // Inside option values, `#` begins a comment.
            (b'#', _) => comment_length(&bytes[at..], b"\n"),
            _ => 1,
        };
    }
    Ok(())
}

/// Of a text in quotes, which ends with its line at the latest.
fn text_length(bytes: &[u8]) -> usize {
    let (quote, mut at) = (bytes[0], 1);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => return at,
            b'\\' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
        if at > LINE_BYTES_MAX {
            return at;
        }
    }
    bytes.len()
}

/// Of a comment; the line break that ends one is left, so that it is counted.
fn comment_length(bytes: &[u8], end: &[u8]) -> usize {
    let found = bytes.windows(end.len()).skip(2).position(|window| window == end);
    match found {
        Some(at) if end == b"\n" => at + 2,
        Some(at) => at + 2 + end.len(),
        None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Option<String> {
        let mut budget = Budget::of_schema(&Config::default());
        scan("x.proto", text, &mut budget).err().map(|error| error.message)
    }

    #[test]
    fn nesting_and_lines_are_bounded() {
        let open = "{\n".repeat(65);
        let expected = "x.proto:65:1: more than 64 brackets inside each other";
        assert_eq!(error(&open).as_deref(), Some(expected));
        assert_eq!(error(&format!("{}{}", "[".repeat(64), "]".repeat(64))), None);
        let long = format!("\n'{}'", "é".repeat(40_000));
        assert!(error(&long).unwrap().contains("a line of more than"), "{long:.20}");
    }

    #[test]
    fn statements_are_bounded_over_all_files() {
        let config = Config { statements_max: 6, ..Config::default() };
        let mut budget = Budget::of_schema(&config);
        // Neither in texts nor in comments.
        let two = "message X {\n  string a = 1; // ; { ,\n  /* ; */\n} option a = ';';\n";
        assert_eq!(scan("a.proto", two, &mut budget), Ok(()));
        assert_eq!(scan("b.proto", two, &mut budget), Ok(()));
        let refused = scan("c.proto", "\n\nenum E {}", &mut budget).unwrap_err().message;
        assert_eq!(
            refused,
            "c.proto:3:8: the schema and what it imports have more than 6 statements up to here \
             (`schema_registry.statements_max`; each `;`, `{` and `,` counts)"
        );
        assert!(budget.is_spent);
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        let line = "a = '\\'{[(' \"{'\" // {{{\n/* {{{\n */ # {\n";
        assert_eq!(error(&line.repeat(1_000)), None);
        assert!(error(&format!("{}{}", line.repeat(100), "{".repeat(65))).is_some());
        for open in ["'", "\"\\", "/*", "//", "#", "/"] {
            assert_eq!(error(open), None);
        }
    }

    /// Each of these would end the process if the parser met it on a usual stack.
    #[test]
    fn nothing_exhausts_the_stack() {
        use crate::{Config, compile::compile, testing::source};
        for (name, text) in [
            ("bad", format!("syntax='proto3'; {}", "é😀".repeat(2000))),
            ("bad2", format!("syntax='proto3'; import \"{}", "é😀".repeat(2000))),
            ("semis", format!("syntax='proto3'; {}", "x ;".repeat(2000))),
            ("braces", format!("syntax='proto3'; option (a) = {}", "{a:".repeat(2000))),
            ("brackets", format!("syntax='proto3'; option (a) = {{ {}", "a: [".repeat(2000))),
            ("aggr", format!("syntax='proto3'; option (a) = {{ {}", "a {".repeat(2000))),
            ("angle", format!("syntax='proto3'; option (a) = {{ {}", "a <".repeat(2000))),
            ("parens", format!("syntax='proto3'; option {}", "(".repeat(2000))),
            ("dots", format!("syntax='proto3'; option a{} = 1;", ".a".repeat(2000))),
            ("type", format!("syntax='proto3'; message X {{ a{} b = 1; }}", ".a".repeat(2000))),
            ("msgs", format!("syntax='proto3'; {}", "message X {".repeat(2000))),
            ("oneof", format!("syntax='proto3'; message X {{ {}", "oneof o {".repeat(2000))),
            ("comments", format!("syntax='proto3'; {}", "/* */\n".repeat(2000))),
            (
                "lines",
                format!("syntax='proto3'; {}", "'é😀é😀é😀é😀é😀é😀é😀é😀é😀'\n".repeat(20000)),
            ),
            ("longline", format!("syntax='proto3'; option java_package = '{}", "é".repeat(30000))),
            ("comment", format!("syntax='proto3'; /* {}", "é😀é😀é😀é😀é😀\n".repeat(20000))),
            ("linecomment", format!("syntax='proto3'; // {}", "é".repeat(30000))),
            ("ident", format!("syntax='proto3'; message {} {{}}", "a".repeat(60000))),
            (
                "items",
                format!(
                    "syntax='proto3'; import 'buf/validate/validate.proto'; message X {{ repeated string s = 1 [(buf.validate.field) = {{ {} }}]; }}",
                    "repeated {items {".repeat(25)
                ),
            ),
            (
                "items2",
                format!(
                    "syntax='proto3'; import 'buf/validate/validate.proto'; message X {{ repeated string s = 1 [(buf.validate.field){}.required = true]; }}",
                    ".repeated.items".repeat(3000)
                ),
            ),
            ("strings", format!("syntax='proto3'; option java_package = {};", "'a' ".repeat(2000))),
        ] {
            let source = source("a/1/x", &[("a/1/x.proto", &text)]);
            if let Err(error) = compile(&source, &Config::default()) {
                assert_eq!(error.code, contract::ErrorCode::InvalidDefinition, "{name}: {error}");
            }
        }
    }
}
