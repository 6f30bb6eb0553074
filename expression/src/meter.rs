//! What one run of an expression may cost. The interpreter has no limit of its own, so everything
//! that can be repeated pays: a loop for what it goes through, down to the last text in it, so that
//! what one loop made large the next one pays for; a text for its length, a list for its elements.
//! A unit is about the work of one operator.

use cel::{
    ExecutionError,
    common::{
        types::{CelBytes, CelInt, CelList, CelMap, CelString, Type},
        value::{CowVal, StaticVal, Val},
    },
};
use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

/// The variable that holds the meter of a run; no source can name it.
pub(crate) const METER: &str = "@meter";
/// The function that every loop calls before it starts.
pub(crate) const LOOP: &str = "@loop";
/// Bytes of a text that cost one unit: looking through them takes about as long as an operator.
const TEXT_BYTES_PER_UNIT: usize = 256;

pub(crate) const METER_KIND: Type = Type::new_unspecified_type("@meter");
static METER_TYPE: Type = METER_KIND;

/// What is left of a run's budget.
#[derive(Debug, Clone)]
pub struct Meter(Arc<AtomicI64>);

impl Meter {
    /// So many units.
    pub(crate) fn new(units: i64) -> Self {
        Self(Arc::new(AtomicI64::new(units)))
    }

    /// Takes units. Errors: it is used up, once and for all.
    pub(crate) fn charge(&self, units: i64) -> Result<(), ExecutionError> {
        let left = self.0.fetch_sub(units, Ordering::Relaxed).saturating_sub(units);
        if left < 0 {
            // So that nothing that is absorbed lets it go on for less.
            self.0.store(-1, Ordering::Relaxed);
            return Err(ExecutionError::function_error("cost", "it costs too much"));
        }
        Ok(())
    }

    /// Takes what looking through a text costs.
    pub(crate) fn charge_text(&self, bytes: usize) -> Result<(), ExecutionError> {
        self.charge(i64::try_from(bytes / TEXT_BYTES_PER_UNIT).unwrap_or(i64::MAX))
    }

    /// Was more wanted than there was?
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }
}

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &METER_TYPE
    }

    fn cel_type() -> &'static Type {
        &METER_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

/// `@loop(meter, weight, range)`: charges the whole loop before its first turn, and gives `range`.
pub(crate) fn charge_loop<'b, 'v>(
    mut args: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let count = args.len();
    let range = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(3, count))?;
    let weight = args.get(1).and_then(|weight| weight.downcast_ref::<CelInt>());
    let weight = weight.map_or(1, |weight| *weight.inner());
    if let Some(meter) = args.first().and_then(|meter| meter.downcast_ref::<Meter>()) {
        let left = meter.0.load(Ordering::Relaxed);
        meter.charge(weigh(range.as_ref(), left).saturating_mul(weight))?;
    }
    Ok(range)
}

/// How much there is in a value, in units; what is beyond `most` is not counted.
fn weigh(value: &dyn Val, most: i64) -> i64 {
    let long = |bytes: usize| i64::try_from(bytes / TEXT_BYTES_PER_UNIT).unwrap_or(i64::MAX);
    let mut sum = 1;
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        sum += long(text.inner().len());
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        sum += long(bytes.inner().len());
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for element in list.inner() {
            if sum > most {
                break;
            }
            sum = sum.saturating_add(weigh(element.as_ref(), most - sum));
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        for (key, field) in map.inner() {
            if sum > most {
                break;
            }
            let entry = weigh(key.inner(), most).saturating_add(weigh(field.as_ref(), most - sum));
            sum = sum.saturating_add(entry);
        }
    } else if let Some(sizer) = value.as_sizer() {
        // A view of the payload, whose fields pay when they are read.
        sum = sum.saturating_add(*sizer.size().inner());
    }
    sum
}
