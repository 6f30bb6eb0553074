//! Sets the back-off of a target and a direction.

use super::{Desk, changeset::words, refused};
use crate::fact::FactBody;
use contract::{
    Result,
    backoff::BackoffRule,
    command::{ChangeKind, Target},
};

pub(super) fn put_backoff(desk: &mut Desk<'_>, rule: &BackoffRule) -> Result<()> {
    let (noun, name) = words(&Target::Backoff(rule.target.clone(), rule.direction));
    rule.policy.check().map_err(|why| refused(noun, &name, why))?;
    let kind = match desk.state.backoffs.get(&(rule.target.clone(), rule.direction)) {
        Some(held) if **held == *rule => ChangeKind::Unchanged,
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if kind != ChangeKind::Unchanged {
        desk.record(FactBody::BackoffPut(Box::new(rule.clone())));
    }
    desk.changed(kind, noun, name);
    Ok(())
}
