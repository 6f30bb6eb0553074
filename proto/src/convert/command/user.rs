//! Commands about users, read from their messages.

use super::roles;
use crate::{
    convert::{Malformed, text},
    v1,
};
use contract::{command::Command, secret::Secret};

pub(super) fn create(wire: v1::CreateUser) -> Result<Command, Malformed> {
    Ok(Command::CreateUser {
        name: text(wire.name, "name")?,
        password: Secret::new(text(wire.password, "password")?),
        roles: roles(&wire.roles)?,
        subscriber: wire.subscriber,
    })
}

pub(super) fn set_roles(wire: v1::SetUserRoles) -> Result<Command, Malformed> {
    Ok(Command::SetUserRoles { name: text(wire.name, "name")?, roles: roles(&wire.roles)? })
}

pub(super) fn set_password(wire: v1::SetPassword) -> Result<Command, Malformed> {
    let password = Secret::new(text(wire.password, "password")?);
    Ok(Command::SetPassword { name: text(wire.name, "name")?, password })
}

pub(super) fn set_disabled(wire: v1::SetUserDisabled) -> Result<Command, Malformed> {
    Ok(Command::SetUserDisabled { name: text(wire.name, "name")?, disabled: wire.disabled })
}
