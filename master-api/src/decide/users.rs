//! Who can log in. A password is the hash of one by the time that it comes here.

use super::{Desk, check, conflict, not_found, refused};
use crate::fact::FactBody;
use contract::{
    Result,
    access::{Roles, User},
    command::ChangeKind,
    id::UserId,
    secret::Secret,
};
use std::sync::Arc;

pub(super) fn create(
    desk: &mut Desk<'_>,
    name: &str,
    password: &Secret,
    (roles, subscriber): (&Roles, Option<&str>),
) -> Result<()> {
    check::name("user", name)?;
    check::subscriber(desk, "user", name, subscriber)?;
    if named(desk, name).is_ok() {
        return Err(conflict("user", name, "a user of this name is there already"));
    }
    if *roles == Roles::default() {
        return Err(refused("user", name, "it has no role"));
    }
    let user = User {
        id: UserId::from_bytes(desk.given.ids.uuid()),
        name: name.to_owned(),
        password: desk.store_secret(password),
        roles: roles.clone(),
        subscriber: subscriber.map(str::to_owned),
        disabled: false,
        epoch: 0,
        created_at: desk.given.now,
    };
    let id = user.id.to_string();
    desk.record(FactBody::UserCreated(Box::new(user)));
    desk.changed(ChangeKind::Created, "user", name);
    desk.changed_with(Some(id), None);
    Ok(())
}

pub(super) fn set_roles(desk: &mut Desk<'_>, name: &str, roles: &Roles) -> Result<()> {
    let user = named(desk, name)?;
    if *roles == Roles::default() {
        return Err(refused("user", name, "it would have no role; disable it instead"));
    }
    let fact = FactBody::UserRolesSet { id: user.id, roles: roles.clone() };
    change(desk, &user, (user.roles != *roles).then_some(fact));
    Ok(())
}

pub(super) fn set_password(desk: &mut Desk<'_>, name: &str, password: &Secret) -> Result<()> {
    let user = named(desk, name)?;
    let stored = desk.store_secret(password);
    change(desk, &user, Some(FactBody::UserPasswordSet { id: user.id, password: stored }));
    desk.record(FactBody::SecretErased { id: user.password.id });
    Ok(())
}

pub(super) fn set_disabled(desk: &mut Desk<'_>, name: &str, disabled: bool) -> Result<()> {
    let user = named(desk, name)?;
    let fact = FactBody::UserDisabled { id: user.id, disabled };
    change(desk, &user, (user.disabled != disabled).then_some(fact));
    Ok(())
}

pub(super) fn remove(desk: &mut Desk<'_>, name: &str) -> Result<()> {
    let user = named(desk, name)?;
    desk.record(FactBody::UserRemoved { id: user.id });
    desk.record(FactBody::SecretErased { id: user.password.id });
    desk.changed(ChangeKind::Removed, "user", name);
    desk.changed_with(Some(user.id.to_string()), None);
    Ok(())
}

fn change(desk: &mut Desk<'_>, user: &User, fact: Option<FactBody>) {
    let kind = if fact.is_some() { ChangeKind::Changed } else { ChangeKind::Unchanged };
    if let Some(fact) = fact {
        desk.record(fact);
    }
    desk.changed(kind, "user", &user.name);
    desk.changed_with(Some(user.id.to_string()), None);
}

fn named(desk: &Desk<'_>, name: &str) -> Result<Arc<User>> {
    let found = desk.state.users.values().find(|user| user.name == name);
    found.cloned().ok_or_else(|| not_found("user", name))
}
