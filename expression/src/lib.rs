//! Expressions over an event, in CEL (cel.dev): which events a subscription wants, which of its
//! deliveries wait for each other, and what body is sent. A library for the parts that hold them.
//!
//! The interpreter has no limit of its own. What an expression may cost is bounded here, once for
//! everybody: before it runs by its length, its depth and how its loops nest ([`survey`]), and
//! while it runs by a [`Meter`].

pub mod patterns;
pub mod survey;
mod functions;
mod json;
mod key;
mod meter;
mod path;
mod program;
mod filter;
mod source;
mod stack;
mod subject;

pub use filter::{Conjunct, Filter};
pub use functions::environment;
pub use key::ordering_key;
pub use meter::Meter;
pub use path::{Path, Scalar};
pub use program::{Failure, Program, Purpose};
pub use source::Refused;
pub use stack::on_a_large_stack;
pub use subject::Subject;
