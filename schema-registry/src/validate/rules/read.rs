//! From the options in a descriptor to rules, or to a sentence that names the field.

use super::{
    Expression, FieldRules, Group, MessageRules, Rule, ValueRules,
    cel::Given,
    families::{self, Refusal, set},
};
use expression::patterns::Patterns;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};

/// Whose patterns share a budget, and what bounds it.
const OWNER: &str = "this contract (`schema_registry.pattern_bytes_max`)";
/// Most CEL rules of one message or field.
const EXPRESSIONS_MAX: usize = 64;
/// `IGNORE_IF_ZERO_VALUE`, `IGNORE_ALWAYS`.
const IF_ZERO: i32 = 1;
const ALWAYS: i32 = 3;

/// Reads rules; there is none if no file of the contract imports `buf/validate/validate.proto`.
#[derive(Debug)]
pub(in super::super) struct Reader {
    message: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    field: ExtensionDescriptor,
    predefined: ExtensionDescriptor,
    patterns: Patterns,
}

impl Reader {
    /// For a contract that was taken before. None if it can have no rules.
    pub(in super::super) fn new(pool: &DescriptorPool) -> Option<Self> {
        Self::within(pool, usize::MAX)
    }

    /// For a contract whose patterns may take so many bytes together. None if it can have no rules.
    pub(in super::super) fn within(
        pool: &DescriptorPool,
        pattern_bytes_max: usize,
    ) -> Option<Self> {
        let extension = |name: &str| pool.get_extension_by_name(&format!("buf.validate.{name}"));
        Some(Self {
            message: extension("message")?,
            oneof: extension("oneof")?,
            field: extension("field")?,
            predefined: extension("predefined")?,
            patterns: Patterns::within(pattern_bytes_max, OWNER),
        })
    }

    /// The rules of a message as a whole. `light`: its fields need no built message.
    pub(in super::super) fn message(
        &self,
        message: &MessageDescriptor,
        light: bool,
    ) -> Result<Option<MessageRules>, Refusal> {
        let read = || {
            let options = extension(&message.options(), &self.message);
            let Some(options) = &options else { return Ok((Vec::new(), Vec::new())) };
            families::refuse_strangers("message", options)?;
            let this = Value::Message(DynamicMessage::new(message.clone()));
            let kind = Kind::Message(message.clone());
            let expressions = self.expressions(options, &this, &kind, None)?;
            let groups = listed(options, "oneof");
            let groups = groups.iter().filter_map(Value::as_message);
            let groups: Result<_, _> = groups.map(|options| group(options, message)).collect();
            Ok((expressions, groups?))
        };
        let (expressions, groups): (Vec<Expression>, Vec<Group>) =
            read().map_err(|refusal: Refusal| format!("{}: {refusal}", message.full_name()))?;
        let built = !light || !expressions.is_empty() || !groups.is_empty();
        let descriptor = message.clone();
        Ok(built.then_some(MessageRules { descriptor, expressions, groups }))
    }

    /// Must one field of the oneof be set?
    pub(in super::super) fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        extension(&oneof.options(), &self.oneof)
            .and_then(|options| set(&options, "required"))
            .is_some_and(|required| required.as_bool() == Some(true))
    }

    /// The rules of a field, if it has any.
    pub(in super::super) fn field(
        &self,
        field: &FieldDescriptor,
    ) -> Result<Option<FieldRules>, Refusal> {
        let mut rules = FieldRules { presence: field.supports_presence(), ..FieldRules::default() };
        let Some(options) = extension(&field.options(), &self.field) else {
            return Ok(self.is_grouped(field).then_some(rules));
        };
        let read = self.read_field(field, &options, &mut rules);
        read.map_err(|refusal| format!("{}: {refusal}", field.full_name()))?;
        Ok(Some(rules))
    }

    fn read_field(
        &self,
        field: &FieldDescriptor,
        options: &DynamicMessage,
        rules: &mut FieldRules,
    ) -> Result<(), Refusal> {
        families::refuse_strangers("field", options)?;
        let ignore = ignore_of(options);
        if ignore == Some(ALWAYS) {
            (rules.ignored, rules.value.ignored) = (true, true);
            return Ok(());
        }
        rules.zero_passes = ignore == Some(IF_ZERO) || ignore.is_none() && self.is_grouped(field);
        rules.required =
            set(options, "required").is_some_and(|required| required.as_bool() == Some(true));
        let zero = Value::default_value_for_field(field);
        rules.expressions = self.expressions(options, &zero, &field.kind(), None)?;
        let Some((family, standard)) = standard(options) else { return Ok(()) };
        let predefined = self.predefined(&family, &standard, &zero, &field.kind())?;
        rules.expressions.extend(predefined);
        if field.is_map() {
            expect_family(&family, "map", field)?;
            rules.count = families::counts("map", &standard)?;
            let Kind::Message(entry) = field.kind() else { return Ok(()) };
            let part =
                |name: &str, field: FieldDescriptor| self.value(&standard, name, &field.kind());
            rules.keys = part("keys", entry.map_entry_key_field())?;
            rules.value = part("values", entry.map_entry_value_field())?;
        } else if field.is_list() {
            expect_family(&family, "repeated", field)?;
            rules.count = families::counts("repeated", &standard)?;
            rules.unique =
                set(&standard, "unique").is_some_and(|unique| unique.as_bool() == Some(true));
            if rules.unique && matches!(field.kind(), Kind::Message(_)) {
                return Err("repeated.unique is for scalars and enums".to_owned());
            }
            rules.value = self.value(&standard, "items", &field.kind())?;
        } else {
            rules.value.rules = self.single(&family, &standard, &field.kind())?;
            rules.value.examples = families::examples(&standard);
            rules.value.built_only = is_built_only(&field.kind());
            rules.value.zero_passes = rules.zero_passes;
        }
        Ok(())
    }

    /// The rules of elements, keys or map values.
    fn value(
        &self,
        options: &DynamicMessage,
        name: &str,
        kind: &Kind,
    ) -> Result<ValueRules, Refusal> {
        let mut rules = ValueRules::default();
        let Some(Value::Message(options)) = set(options, name) else { return Ok(rules) };
        families::refuse_strangers(name, &options)?;
        match ignore_of(&options) {
            Some(ALWAYS) => {
                rules.ignored = true;
                return Ok(rules);
            }
            ignore => rules.zero_passes = ignore == Some(IF_ZERO),
        }
        rules.expressions = self.expressions(&options, &Value::default_value(kind), kind, None)?;
        if let Some((family, standard)) = standard(&options) {
            let zero = Value::default_value(kind);
            rules.expressions.extend(self.predefined(&family, &standard, &zero, kind)?);
            rules.rules = self.single(&family, &standard, kind)?;
            rules.examples = families::examples(&standard);
            rules.built_only = is_built_only(kind);
        }
        Ok(rules)
    }

    /// The rules that others have defined as extensions of a family's message.
    fn predefined(
        &self,
        family: &str,
        options: &DynamicMessage,
        zero: &Value,
        kind: &Kind,
    ) -> Result<Vec<Expression>, Refusal> {
        let mut compiled = Vec::new();
        for (rule, value) in options.extensions() {
            let name = rule.full_name();
            let source = extension(&rule.options(), &self.predefined);
            let source = source.ok_or_else(|| {
                format!("{family}.({name}): it lacks the option `(buf.validate.predefined)`")
            })?;
            let given = Given {
                rule: value.clone(),
                kind: rule.kind(),
                rules: Value::Message(options.clone()),
            };
            let expressions = self.expressions(&source, zero, kind, Some(&given));
            compiled.extend(expressions.map_err(|error| format!("{family}.({name}): {error}"))?);
        }
        Ok(compiled)
    }

    /// The standard rules of a single value.
    fn single(
        &self,
        family: &str,
        options: &DynamicMessage,
        kind: &Kind,
    ) -> Result<Vec<Rule>, Refusal> {
        let fits = family_of(kind);
        if fits != Some(family) {
            let fits =
                fits.map_or("no standard rules".to_owned(), |fits| format!("`{fits}` rules"));
            return Err(format!("`{family}` rules do not fit: a value of {kind:?} takes {fits}"));
        }
        families::rules(family, options, kind, &self.patterns)
    }

    /// The rules in CEL. `given` is what a predefined rule sees beside the value.
    fn expressions(
        &self,
        options: &DynamicMessage,
        zero: &Value,
        kind: &Kind,
        given: Option<&Given>,
    ) -> Result<Vec<Expression>, Refusal> {
        let rules = listed(options, "cel");
        let short = listed(options, "cel_expression");
        if rules.len() + short.len() > EXPRESSIONS_MAX {
            return Err(format!("more than {EXPRESSIONS_MAX} CEL rules"));
        }
        let text = |rule: &DynamicMessage, name: &str| match set(rule, name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let mut compiled = Vec::new();
        for rule in rules.iter().filter_map(Value::as_message) {
            let (id, source) = (text(rule, "id"), text(rule, "expression"));
            let id = if id.is_empty() { source.clone() } else { id };
            let named = (id, text(rule, "message"));
            compiled.push(Expression::compile(named, &source, given.cloned(), &self.patterns)?);
        }
        for source in short.iter().filter_map(Value::as_str) {
            let named = (source.to_owned(), String::new());
            compiled.push(Expression::compile(named, source, None, &self.patterns)?);
        }
        for expression in &compiled {
            expression.rehearse(zero, kind)?;
        }
        Ok(compiled)
    }

    /// Is the field a member of a group, whose members may be zero unless they say otherwise?
    fn is_grouped(&self, field: &FieldDescriptor) -> bool {
        let options = extension(&field.parent_message().options(), &self.message);
        options.is_some_and(|options| {
            listed(&options, "oneof").iter().filter_map(Value::as_message).any(|group| {
                listed(group, "fields").iter().any(|name| name.as_str() == Some(field.name()))
            })
        })
    }
}

fn expect_family(family: &str, wanted: &str, field: &FieldDescriptor) -> Result<(), Refusal> {
    if family == wanted {
        return Ok(());
    }
    Err(format!("`{family}` rules do not fit: `{}` takes `{wanted}` rules", field.name()))
}

fn group(options: &DynamicMessage, message: &MessageDescriptor) -> Result<Group, Refusal> {
    let names = listed(options, "fields");
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let mut fields = Vec::new();
    for name in &names {
        let field = message.get_field_by_name(name);
        let number = field.ok_or_else(|| format!("oneof: there is no field `{name}`"))?.number();
        if fields.contains(&number) {
            return Err(format!("oneof: `{name}` is listed twice"));
        }
        fields.push(number);
    }
    if fields.is_empty() {
        return Err("oneof: no fields are listed".to_owned());
    }
    let required =
        set(options, "required").is_some_and(|required| required.as_bool() == Some(true));
    let how_many = if required { "exactly" } else { "at most" };
    Ok(Group { fields, required, expected: format!("{how_many} one of {}", names.join(", ")) })
}

fn extension(options: &DynamicMessage, of: &ExtensionDescriptor) -> Option<DynamicMessage> {
    if !options.has_extension(of) {
        return None;
    }
    options.get_extension(of).as_message().cloned()
}

fn listed(options: &DynamicMessage, name: &str) -> Vec<Value> {
    match set(options, name) {
        Some(Value::List(values)) => values,
        _ => Vec::new(),
    }
}

fn ignore_of(options: &DynamicMessage) -> Option<i32> {
    set(options, "ignore").and_then(|ignore| ignore.as_enum_number()).filter(|ignore| *ignore != 0)
}

/// The family that is set, and its rules.
fn standard(options: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    options.fields().find_map(|(field, value)| {
        let family = field.containing_oneof().is_some().then(|| field.name().to_owned());
        Some((family?, value.as_message()?.clone()))
    })
}

/// The rules of these are in terms of what they hold, not of how JSON writes it.
fn is_built_only(kind: &Kind) -> bool {
    matches!(family_of(kind), Some("any" | "field_mask"))
}

fn family_of(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Enum(_) => "enum",
        Kind::Message(message) => match message.full_name().strip_prefix("google.protobuf.")? {
            "DoubleValue" => "double",
            "FloatValue" => "float",
            "Int64Value" => "int64",
            "UInt64Value" => "uint64",
            "Int32Value" => "int32",
            "UInt32Value" => "uint32",
            "BoolValue" => "bool",
            "StringValue" => "string",
            "BytesValue" => "bytes",
            "Any" => "any",
            "Duration" => "duration",
            "FieldMask" => "field_mask",
            "Timestamp" => "timestamp",
            _ => return None,
        },
    })
}
