//! Sets the defaults of an event type.

use super::Desk;
use crate::fact::FactBody;
use contract::{command::ChangeKind, subscription::EventType};

pub(super) fn put_event_type(desk: &mut Desk<'_>, event_type: &EventType) {
    let kind = match desk.state.event_types.get(&event_type.uri) {
        Some(held) if **held == *event_type => ChangeKind::Unchanged,
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if kind != ChangeKind::Unchanged {
        desk.record(FactBody::EventTypePut(event_type.clone()));
    }
    desk.changed(kind, "event_type", event_type.uri.as_str());
}
