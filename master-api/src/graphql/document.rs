//! What a query may look like. It is measured before anything walks it: fragments that are spread
//! in fragments make a short text long.

use super::access::refusal;
use async_graphql::{
    Name, Positioned, Request, ServerError, Value as Literal, Variables,
    parser::types::{
        Directive, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, Selection,
        SelectionSet,
    },
};
use std::{collections::HashMap, convert::Infallible};

/// The longest query, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Brackets within brackets: the parser calls itself for each.
const NESTING_MAX: usize = 64;
/// Most operations, and most fragments.
const DEFINITIONS_MAX: usize = 100;
/// Most fields, arguments, directives and values, with every fragment in its place.
const SIZE_MAX: usize = 2_000;
/// What a block string begins and ends with.
const BLOCK: &[u8] = b"\"\"\"";
const BLOCK_ESCAPED: &[u8] = b"\\\"\"\"";

/// Parses the query, if it is one that is cheap to check and to carry out. The refusal says
/// nothing of its text, in which there may be secrets.
pub(super) fn read(request: &mut Request) -> Result<(), ServerError> {
    if request.query.len() > TEXT_BYTES_MAX {
        return Err(refusal(format!("a query has at most {TEXT_BYTES_MAX} bytes")));
    }
    if nesting(&request.query) > NESTING_MAX {
        return Err(refusal("the query is nested too deeply"));
    }
    let variables = std::mem::take(&mut request.variables);
    let parsed = request.parsed_query();
    let checked = match parsed {
        Ok(document) => check(document, &variables),
        Err(error) => Err(ServerError {
            locations: error.locations,
            ..refusal("the query cannot be read: its syntax is wrong")
        }),
    };
    request.variables = variables;
    checked
}

fn check(document: &ExecutableDocument, variables: &Variables) -> Result<(), ServerError> {
    let definitions = document.fragments.len().max(document.operations.iter().len());
    if definitions > DEFINITIONS_MAX {
        let max = DEFINITIONS_MAX;
        return Err(refusal(format!("a query has at most {max} operations and {max} fragments")));
    }
    let sizes = variables.iter().map(|(name, value)| (name.as_str(), literal(value)));
    let (variables, known) = (sizes.collect(), HashMap::new());
    let mut measure = Measure { fragments: &document.fragments, variables, known };
    match measure.document(document) {
        Some(size) if size <= SIZE_MAX => Ok(()),
        Some(_) => Err(refusal(format!("a query asks for at most {SIZE_MAX} fields and values"))),
        None => Err(refusal("a fragment is spread within itself")),
    }
}

/// Sizes, each fragment's found once. None: it has no end.
struct Measure<'a> {
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    variables: HashMap<&'a str, usize>,
    /// None while it is being measured.
    known: HashMap<&'a str, Option<usize>>,
}

impl<'a> Measure<'a> {
    fn document(&mut self, document: &'a ExecutableDocument) -> Option<usize> {
        let mut size = 0_usize;
        for (_, operation) in document.operations.iter() {
            size = size.saturating_add(self.operation(&operation.node)?);
        }
        // Each is checked by itself too, spread or not.
        for name in document.fragments.keys() {
            size = size.saturating_add(self.fragment(name)?);
        }
        Some(size)
    }

    fn operation(&mut self, operation: &'a OperationDefinition) -> Option<usize> {
        let defined = operation.variable_definitions.iter().map(|variable| {
            let default = variable.node.default_value.as_ref();
            let default = default.map_or(0, |value| literal(&value.node));
            self.directives(&variable.node.directives).saturating_add(default).saturating_add(1)
        });
        let size = total(defined).saturating_add(self.directives(&operation.directives));
        Some(self.selection_set(&operation.selection_set.node)?.saturating_add(size))
    }

    fn fragment(&mut self, name: &'a str) -> Option<usize> {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        // The validation names a fragment that is missing.
        let Some(fragment) = self.fragments.get(name) else { return Some(1) };
        self.known.insert(name, None);
        let size = self.selection_set(&fragment.node.selection_set.node)?;
        let size = size.saturating_add(self.directives(&fragment.node.directives));
        self.known.insert(name, Some(size));
        Some(size)
    }

    fn selection_set(&mut self, set: &'a SelectionSet) -> Option<usize> {
        set.items.iter().try_fold(1_usize, |size, item| {
            let inner = match &item.node {
                Selection::Field(field) => self.field(&field.node),
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node),
                Selection::InlineFragment(inline) => {
                    self.selection_set(&inline.node.selection_set.node)
                }
            };
            let directives = self.directives(item.node.directives());
            Some(size.saturating_add(inner?).saturating_add(directives))
        })
    }

    fn field(&mut self, field: &'a Field) -> Option<usize> {
        let arguments = field.arguments.iter();
        let arguments =
            arguments.map(|(_, value)| self.value(|fill| value.node.clone().into_const_with(fill)));
        let arguments = total(arguments);
        Some(self.selection_set(&field.selection_set.node)?.saturating_add(arguments))
    }

    fn directives(&self, directives: &[Positioned<Directive>]) -> usize {
        let values = |directive: &Positioned<Directive>| {
            let values = directive.node.arguments.iter();
            let values = values
                .map(|(_, value)| self.value(|fill| value.node.clone().into_const_with(fill)));
            total(values).saturating_add(1)
        };
        total(directives.iter().map(values))
    }

    /// A variable counts with what it stands for, wherever it stands. `resolve` gives the value
    /// with its variables filled in.
    fn value(
        &self,
        resolve: impl FnOnce(
            &mut dyn FnMut(Name) -> Result<Literal, Infallible>,
        ) -> Result<Literal, Infallible>,
    ) -> usize {
        let mut inner = 0_usize;
        let Ok(value) = resolve(&mut |name| {
            let size = self.variables.get(name.as_str()).copied().unwrap_or_default();
            inner = inner.saturating_add(size);
            Ok(Literal::Null)
        });
        literal(&value).saturating_add(inner)
    }
}

/// How many values are in a value.
fn literal(value: &Literal) -> usize {
    let inner = match value {
        Literal::List(values) => total(values.iter().map(literal)),
        Literal::Object(values) => total(values.values().map(literal)),
        _ => 0,
    };
    inner.saturating_add(1)
}

fn total(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

/// How deep brackets lie within brackets, outside of strings and comments.
fn nesting(text: &str) -> usize {
    let (mut rest, mut depth, mut deepest) = (text.as_bytes(), 0_usize, 0);
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                after
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'#' => past_line(after),
            b'"' => past_string(rest),
            _ => after,
        };
    }
    deepest
}

fn past_line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    end.and_then(|end| text.get(end..)).unwrap_or_default()
}

/// What follows a string, as the parser reads it: three quotes that nothing closes are an empty
/// string and the beginning of another.
fn past_string(text: &[u8]) -> &[u8] {
    if let Some(block) = text.strip_prefix(BLOCK)
        && let Some(after) = past_block(block)
    {
        return after;
    }
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return after,
            b'\n' | b'\r' => return rest,
            b'\\' => rest = after.get(1..).unwrap_or_default(),
            _ => rest = after,
        }
    }
    rest
}

/// What follows the end of a block string; None: it has none.
fn past_block(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        if let Some(after) = rest.strip_prefix(BLOCK) {
            return Some(after);
        }
        rest = match rest.strip_prefix(BLOCK_ESCAPED) {
            Some(after) => after,
            None => rest.split_first()?.1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<String> {
        read(&mut Request::new(text)).err().map(|error| error.message)
    }

    /// `count` fragments, each spread twice in the one before it.
    fn bomb(count: usize) -> String {
        let fragments = (0..count).map(|n| {
            let next = n + 1;
            format!("fragment f{n} on Query {{ ...f{next} ...f{next} }} ")
        });
        let fragments: String = fragments.collect();
        format!("{{ ...f0 }} {fragments} fragment f{count} on Query {{ version }}")
    }

    #[test]
    fn what_fragments_come_to_is_bounded() {
        assert_eq!(refused(&bomb(3)), None);
        for count in [12, 27, 99] {
            assert!(refused(&bomb(count)).unwrap().contains("at most 2000"), "{count}");
        }
        assert!(refused(&bomb(500)).unwrap().contains("at most 100"));
        let cycle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        assert!(refused(cycle).unwrap().contains("within itself"));
        assert!(refused(&format!("{{ {} }}", "version ".repeat(2_001))).is_some());
        assert!(refused(&format!("{{ version }} # {}", "x".repeat(TEXT_BYTES_MAX))).is_some());
    }

    #[test]
    fn a_variable_counts_wherever_it_stands() {
        let text = format!("query($f: [Int]) {{ {} }}", "event(id: $f) { id } ".repeat(100));
        let ask = |values: usize| {
            let list = Literal::List(vec![Literal::Null; values]);
            let mut variables = Variables::default();
            variables.insert(Name::new("f"), list);
            read(&mut Request::new(&text).variables(variables))
        };
        assert!(ask(2).is_ok());
        assert!(ask(100).is_err());
    }

    #[test]
    fn nesting_is_seen_through_strings_and_comments() {
        assert_eq!(nesting(r#"{ a(b: "{{{", c: """[["[[ \""" ((""") } # {{{"#), 2);
        // Quotes and comments hide nothing that the parser would see.
        assert_eq!(nesting("{ # }\n { \"}\\\"}\" {"), 3);
        assert_eq!(nesting("[\"\"\"a\" [ [ ["), 4);
        let deep = 30_000;
        assert!(refused(&format!("{}{}", "{a".repeat(deep), "}".repeat(deep))).is_some());
        assert!(refused(&format!("{{a(b: {}", "[".repeat(deep))).is_some());
    }

    #[test]
    fn a_syntax_error_does_not_repeat_the_text() {
        let error = read(&mut Request::new("{ a(secret: \"hunter2\" ! }")).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(error.locations.len(), 1);
    }
}
