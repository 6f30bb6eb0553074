//! JSON as expressions see it, and what they give as JSON.
//!
//! An object is a view: a field is converted when it is asked for. Whatever is read pays.

use crate::{Failure, meter::Meter};
use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer, Iterable, Iterator as Items, Sizer},
        types::{
            CelBool, CelBytes, CelDouble, CelInt, CelList, CelNull, CelString, CelTimestamp,
            CelUInt, Type,
        },
        value::{CowVal, Val},
    },
};
use serde_json::{Map, Value};
use std::sync::OnceLock;

type Boxed<'v> = Box<dyn Val + 'v>;

static OBJECT: Type = Type::new_unspecified_type("object");
/// Deepest nesting of what an expression gives.
const DEPTH_MAX: usize = 64;

/// A value as expressions see it.
pub(crate) fn seen<'e>(value: &'e Value, limits: &Limits) -> Result<Boxed<'e>, ExecutionError> {
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Box::new(CelInt::from(number)),
            (None, Some(number), _) => Box::new(CelUInt::from(number)),
            (None, None, number) => Box::new(CelDouble::from(number.unwrap_or(f64::NAN))),
        },
        Value::String(text) => seen_text(text, limits)?,
        Value::Array(elements) => {
            limits.meter.charge(i64::try_from(elements.len()).unwrap_or(i64::MAX))?;
            let elements: Result<Vec<_>, _> =
                elements.iter().map(|element| seen(element, limits)).collect();
            Box::new(CelList::from(elements?))
        }
        Value::Object(fields) => {
            let (limits, keys) = (limits.clone(), OnceLock::new());
            Box::new(Object { fields, limits, keys })
        }
    })
}

/// A text as expressions see it.
pub(crate) fn seen_text<'e>(text: &'e str, limits: &Limits) -> Result<Boxed<'e>, ExecutionError> {
    limits.meter.charge_text(text.len())?;
    if text.len() > limits.text_bytes_max {
        let (size, max) = (text.len(), limits.text_bytes_max);
        let why = format!("a text of {size} bytes; with loops at most {max}");
        return Err(ExecutionError::function_error("text", why));
    }
    Ok(Box::new(CelString::from(text)))
}

/// What a run may meet.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The longest text, in bytes.
    pub text_bytes_max: usize,
    /// What the run may cost.
    pub meter: Meter,
}

/// A JSON object.
#[derive(Debug, Clone)]
struct Object<'e> {
    fields: &'e Map<String, Value>,
    limits: Limits,
    /// Made when somebody goes through them.
    keys: OnceLock<Vec<CelString<'e>>>,
}

impl<'e> Object<'e> {
    fn field(&self, name: &dyn Val) -> Result<Boxed<'e>, ExecutionError> {
        self.limits.meter.charge(1)?;
        let name = name.downcast_ref::<CelString<'_>>();
        let name = name.ok_or_else(|| ExecutionError::no_such_key("a field has a name"))?;
        let value = self.fields.get(name.inner());
        let value = value.ok_or_else(|| ExecutionError::no_such_key(name.inner()))?;
        seen(value, &self.limits)
    }
}

impl<'e> Indexer for Object<'e> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let value: Boxed<'v> = self.field(name)?;
        Ok(CowVal::Owned(value))
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Boxed<'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

impl Sizer for Object<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.fields.len()).unwrap_or(i64::MAX))
    }
}

impl Container for Object<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        self.limits.meter.charge(1)?;
        let name = name.downcast_ref::<CelString<'_>>();
        Ok(name.is_some_and(|name| self.fields.contains_key(name.inner())))
    }
}

impl<'e> Iterable for Object<'e> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Items<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        let keys = || self.fields.keys().map(|key| CelString::from(key.as_str())).collect();
        Box::new(Keys(self.keys.get_or_init(keys).iter()))
    }
}

struct Keys<'b, 'e>(std::slice::Iter<'b, CelString<'e>>);

impl<'b, 'e: 'v, 'v> Items<'b, 'v> for Keys<'b, 'e> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|key| -> &'b (dyn Val + 'v) { key })
    }
}

impl<'e> Val for Object<'e> {
    fn get_type(&self) -> &Type {
        &OBJECT
    }

    fn cel_type() -> &'static Type {
        &OBJECT
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    /// The same fields with the same values.
    fn equals(&self, other: &dyn Val) -> bool {
        let (Some(theirs), Some(size)) = (other.as_indexer(), other.as_sizer()) else {
            return false;
        };
        *size.size().inner() == *self.size().inner()
            && self.fields.keys().all(|key| {
                let key = CelString::from(key.as_str());
                match (self.field(&key), theirs.get(&key)) {
                    (Ok(ours), Ok(theirs)) => ours.equals(theirs.as_ref()),
                    _ => false,
                }
            })
    }

    fn clone_as_boxed<'v>(&self) -> Boxed<'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

/// What an expression gave, as JSON of at most `bytes_max` bytes of texts and structure. Bytes are
/// in base64, times as in RFC 3339.
pub(crate) fn given(value: &dyn Val, bytes_max: usize) -> Result<Value, Failure> {
    let mut left = bytes_max;
    convert(value, &mut left, DEPTH_MAX)
}

fn convert(value: &dyn Val, left: &mut usize, depth: usize) -> Result<Value, Failure> {
    let depth = depth.checked_sub(1).ok_or(Failure::TooLarge)?;
    spend(left, 1)?;
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        spend(left, text.inner().len())?;
        return Ok(Value::from(text.inner()));
    }
    if let Some(scalar) = scalar(value) {
        return Ok(scalar);
    }
    let iterable = value.as_iterable().ok_or_else(|| {
        Failure::Error(format!("it gives a {}, which is no JSON", value.get_type().name()))
    })?;
    let mut items = iterable.iter();
    if value.downcast_ref::<CelList<'_>>().is_some() {
        let mut elements = Vec::new();
        while let Some(element) = items.next() {
            elements.push(convert(element, left, depth)?);
        }
        return Ok(Value::Array(elements));
    }
    let indexer = value.as_indexer().ok_or_else(|| Failure::Error("it gives no JSON".into()))?;
    let mut fields = Map::new();
    while let Some(key) = items.next() {
        let name = key.downcast_ref::<CelString<'_>>();
        let name = name.ok_or_else(|| Failure::Error("a key is no text".to_owned()))?;
        spend(left, name.inner().len())?;
        let field = indexer.get(key).map_err(|error| Failure::of(&error))?;
        fields.insert(name.inner().to_owned(), convert(field.as_ref(), left, depth)?);
    }
    Ok(Value::Object(fields))
}

fn scalar(value: &dyn Val) -> Option<Value> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    if value.downcast_ref::<CelNull>().is_some() {
        return Some(Value::Null);
    }
    let bool = value.downcast_ref::<CelBool>().map(|it| Value::from(*it.inner()));
    let int = || value.downcast_ref::<CelInt>().map(|it| Value::from(*it.inner()));
    let uint = || value.downcast_ref::<CelUInt>().map(|it| Value::from(*it.inner()));
    let double = || value.downcast_ref::<CelDouble>().map(|it| Value::from(*it.inner()));
    let bytes = || {
        let bytes = value.downcast_ref::<CelBytes<'_>>()?;
        Some(Value::from(BASE64_STANDARD.encode(bytes.inner())))
    };
    let time = || {
        let time = value.downcast_ref::<CelTimestamp>()?;
        Some(Value::from(time.inner().to_rfc3339()))
    };
    bool.or_else(int).or_else(uint).or_else(double).or_else(bytes).or_else(time)
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), Failure> {
    *left = left.checked_sub(bytes).ok_or(Failure::TooLarge)?;
    Ok(())
}
