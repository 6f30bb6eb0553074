//! The shortest text that a pattern asks for, or nearly.

use regex_syntax::hir::{Hir, HirKind};

/// Longest text that is made, in bytes.
const BYTES_MAX: usize = 4_096;

/// A text that matches; None: there is none of a sensible length. Whether it does is for the caller
/// to check: what a pattern asks for at a word's border is not looked at.
pub(super) fn example(pattern: &str) -> Option<String> {
    let mut text = Vec::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    String::from_utf8(text).ok()
}

fn write(hir: &Hir, text: &mut Vec<u8>) -> Option<()> {
    if text.len() > BYTES_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.extend(&literal.0),
        HirKind::Class(class) => text.extend(plain_char(class)?.to_string().bytes()),
        HirKind::Repetition(repeated) => {
            for _ in 0..repeated.min {
                write(&repeated.sub, text)?;
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, text)?,
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text))?,
        HirKind::Alternation(choices) => write(choices.first()?, text)?,
    }
    Some(())
}

/// A letter or a digit of the class, if it has one.
fn plain_char(class: &regex_syntax::hir::Class) -> Option<char> {
    let has = |wanted: char| match class {
        regex_syntax::hir::Class::Unicode(class) => {
            class.iter().any(|range| (range.start()..=range.end()).contains(&wanted))
        }
        regex_syntax::hir::Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class.iter().any(|range| (range.start()..=range.end()).contains(&wanted))
        }),
    };
    let plain = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain(' '..='~');
    plain.into_iter().find(|wanted| has(*wanted)).or_else(|| match class {
        regex_syntax::hir::Class::Unicode(class) => class.iter().next().map(|range| range.start()),
        regex_syntax::hir::Class::Bytes(_) => None,
    })
}
