//! Creates or changes a subscriber.

use super::{Desk, check, refused};
use crate::fact::FactBody;
use contract::{Result, command::ChangeKind, limits, subscription::Subscriber};

pub(super) fn put_subscriber(desk: &mut Desk<'_>, subscriber: &Subscriber) -> Result<()> {
    let id = &subscriber.id;
    check::token("subscriber", id)?;
    if subscriber.name.len() > limits::NAME_LENGTH_MAX {
        let max = limits::NAME_LENGTH_MAX;
        return Err(refused("subscriber", id, format!("its name has more than {max} bytes")));
    }
    let kind = match desk.state.subscribers.get(id) {
        Some(held) if **held == *subscriber => ChangeKind::Unchanged,
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if kind != ChangeKind::Unchanged {
        desk.record(FactBody::SubscriberPut(subscriber.clone()));
    }
    desk.changed(kind, "subscriber", id);
    Ok(())
}
