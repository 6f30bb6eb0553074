//! The body that a subscription has made of an event, in place of the payload.

use crate::outcome::Failure;
use bytes::Bytes;
use contract::{delivery::Cause, event::Event, master_api::Work};
use expression::{Program, Purpose, Subject};

/// What bodies that were made are.
const CONTENT_TYPE: &str = "application/json";

/// A compiled transformation.
#[derive(Debug)]
pub(crate) struct Transform(Program);

impl Transform {
    /// Compiles one. Errors: a sentence on why it cannot be.
    pub(crate) fn compile(source: &str) -> Result<Self, String> {
        let program = Program::compile(source, Purpose::Body);
        program.map(Self).map_err(|why| format!("its transformation: {why}"))
    }

    /// The same work with the body that is made of it. The same event gives the same bytes: the
    /// fields of objects are in the order of their names.
    pub(crate) fn apply(&self, work: &Work, payload: &[u8]) -> Result<(Work, Bytes), Failure> {
        let made = self.0.evaluate(&Subject::stored(&work.event, payload));
        let made = made.map_err(|why| {
            Failure::new(Cause::Transform, format!("not sent: no body can be made of it: {why}"))
        })?;
        let body = Bytes::from(made.to_string());
        let event = Event { content_type: CONTENT_TYPE.to_owned(), ..work.event.clone() };
        let delivery = work.delivery.clone();
        Ok((Work { delivery, event, payload: Some(body.clone()) }, body))
    }
}
