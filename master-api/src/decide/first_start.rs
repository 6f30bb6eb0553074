//! What a log begins with: its format, the key of the stamps, and a key for whoever set it up.

use super::{Decided, Desk, Given, issue_key::key, rotate::create_stamp_key};
use crate::fact::{FORMAT, FactBody};
use contract::{
    access::{Roles, new_token},
    secret::Secret,
};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// What was decided for a new log.
#[derive(Debug)]
pub struct FirstStart {
    /// Facts and secrets.
    pub decided: Decided,
    /// Token of the administrator's key.
    pub admin_token: Secret,
}

/// `token` is the administrator's, if there is one already.
pub fn first_start(given: Given<'_>, token: Option<&Secret>) -> FirstStart {
    let mut desk = Desk::new(given);
    desk.record(FactBody::FormatRaised { format: FORMAT });
    create_stamp_key(&mut desk);
    let mut bytes = [0; TOKEN_BYTES];
    given.random.fill(&mut bytes);
    let admin_token = token.cloned().unwrap_or_else(|| new_token(&bytes));
    let admin_key = key(&desk, "admin", Roles::admin(), &admin_token);
    desk.record(FactBody::KeyIssued(Box::new(admin_key)));
    FirstStart { decided: desk.decided, admin_token }
}
