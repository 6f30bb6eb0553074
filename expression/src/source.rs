//! From source text to a surveyed tree, with the place of whatever is wrong.

use crate::{
    functions::{environment, has},
    on_a_large_stack,
    patterns::Patterns,
    survey::{Fault, Surveyed, Vocabulary, survey},
};
use cel::{
    Context, Env,
    common::{
        ast::SourceInfo,
        types::{DYN_TYPE, STRING_TYPE},
    },
    parser::Expression as Ast,
};
use std::{
    fmt,
    sync::{Arc, LazyLock},
};

/// Longest source, in bytes.
pub(crate) const SOURCE_BYTES_MAX: usize = 4_096;
/// What the patterns of one expression may take when they are compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Most loops inside each other.
const LOOPS_MAX: usize = 3;
/// Longest text that an expression with loops may meet, in bytes.
const LOOPED_TEXT_BYTES_MAX: usize = 16 * 1024;

static ENV: LazyLock<Option<Arc<Env>>> = LazyLock::new(|| {
    let mut env = environment().ok()?;
    env.add_overload("@has", "has", vec![DYN_TYPE, STRING_TYPE], has).ok()?;
    Some(Arc::new(env))
});

/// Why a source is no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Line and column, both from 1, where they are known.
    pub at: Option<(usize, usize)>,
    /// Why.
    pub text: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Refused {}

/// A source that was read.
pub(crate) struct Read {
    pub ast: Ast,
    pub surveyed: Surveyed,
    pub text_bytes_max: usize,
    places: SourceInfo,
}

impl Read {
    /// Reads a source that may name these variables.
    pub fn new(source: &str, variables: &[&str]) -> Result<Self, Refused> {
        let nowhere = |text: &str| Refused { at: None, text: text.to_owned() };
        if source.trim().is_empty() {
            return Err(nowhere("it is empty"));
        }
        if source.len() > SOURCE_BYTES_MAX {
            return Err(nowhere(&format!("it is longer than {SOURCE_BYTES_MAX} bytes")));
        }
        let read = on_a_large_stack(|| read(source, variables));
        let read = read.unwrap_or_else(|| Err(nowhere("it is more than the parser can follow")))?;
        if read.surveyed.loops > LOOPS_MAX {
            return Err(nowhere(&format!("it has more than {LOOPS_MAX} loops inside each other")));
        }
        Ok(read)
    }

    /// The place of a part, and why it is refused.
    pub fn refuse(&self, Fault { at, text }: Fault) -> Refused {
        Refused { at: place(&self.places, at), text }
    }
}

fn read(source: &str, variables: &[&str]) -> Result<Read, Refused> {
    let env = env().ok_or_else(|| Refused { at: None, text: "the functions clash".into() })?;
    let parsed = env.parser().parse_with_source_info(source);
    let (mut ast, places) = parsed.map_err(|errors| {
        let first = errors.errors.first();
        let at = first.and_then(|error| {
            let (line, column) = error.pos;
            Some((usize::try_from(line).ok()?, usize::try_from(column).ok()?))
        });
        let text = first.map_or("it cannot be read", |error| error.msg.as_str());
        let words: Vec<_> = text.split_whitespace().collect();
        Refused { at: at.filter(|(line, _)| *line > 0), text: words.join(" ") }
    })?;
    let vocabulary = Vocabulary { variables, functions: &[], is_metered: true };
    let patterns = Patterns::within(PATTERN_BYTES_MAX, "this expression");
    let surveyed = survey(&mut ast, vocabulary, &patterns)
        .map_err(|Fault { at, text }| Refused { at: place(&places, at), text })?;
    let text_bytes_max = if surveyed.loops == 0 { usize::MAX } else { LOOPED_TEXT_BYTES_MAX };
    Ok(Read { ast, surveyed, text_bytes_max, places })
}

/// Line and column of a part, both from 1.
fn place(places: &SourceInfo, id: u64) -> Option<(usize, usize)> {
    let (start, _) = places.offset_for(id)?;
    let before: String = places.source.chars().take(usize::try_from(start).ok()?).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    Some((line, column))
}

/// What every run starts from. None: the functions clash, which a test rules out.
pub(crate) fn context<'v>() -> Option<Context<'static, 'v>> {
    env().map(Context::with_env)
}

fn env() -> Option<Arc<Env>> {
    ENV.as_ref().map(Arc::clone)
}
