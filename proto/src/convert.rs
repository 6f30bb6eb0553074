//! Between messages and the contract's nouns: `From` into a message, `TryFrom` out of it.
//!
//! A field that is missing or cannot be read is [`Malformed`] and named by its path. Nothing that
//! is required is ever filled in silently; the few fields with a default say so in their `.proto`.

#[macro_use]
mod field;
mod event;
mod delivery;
mod schema;
mod setting;
mod backoff;
mod source;
mod subscription;
mod sending;
mod access;
mod command;
mod broker;
mod master_api;
mod queue;
mod log;
mod past;
mod test_fire;
mod retention;
mod pull;
mod replay;

pub use field::{Malformed, duration, duration_from, moment, moment_from};
pub(crate) use field::{
    each, into_each, message, narrow, one_of, one_of_or, optional, optional_one_of, parsed,
    parsed_each, parsed_optional, required, text,
};
pub(crate) use schema::{rulebook_as_wire, rulebook_from, verdicts_as_wire};
