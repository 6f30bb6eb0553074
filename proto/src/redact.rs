//! What messages that carry secrets look like in a log: without them.

use crate::v1;
use std::fmt::{Debug, Formatter, Result};

const HIDDEN: &str = "***";

impl Debug for v1::PutSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let secrets = self.secrets.len();
        f.debug_struct("PutSource").field("spec", &self.spec).field("secrets", &secrets).finish()
    }
}

impl Debug for v1::PutSubscription {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (secrets, spec) = (self.secrets.len(), &self.spec);
        f.debug_struct("PutSubscription").field("spec", spec).field("secrets", &secrets).finish()
    }
}

impl Debug for v1::SubscriptionAuth {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SubscriptionAuth")
            .field("secret", &self.secret.as_ref().map(|_secret| HIDDEN))
            .field("stored", &self.stored)
            .finish()
    }
}

impl Debug for v1::CreateUser {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (name, roles) = (&self.name, &self.roles);
        f.debug_struct("CreateUser")
            .field("name", name)
            .field("password", &HIDDEN)
            .field("roles", roles)
            .field("subscriber", &self.subscriber)
            .finish()
    }
}

impl Debug for v1::SetPassword {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SetPassword").field("name", &self.name).field("password", &HIDDEN).finish()
    }
}

impl Debug for v1::internal::LogInRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("LogInRequest").field("name", &self.name).field("password", &HIDDEN).finish()
    }
}

impl Debug for v1::internal::RenewSessionRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RenewSessionRequest").field("token", &HIDDEN).finish()
    }
}

impl Debug for v1::internal::Session {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let expires_at = &self.expires_at;
        f.debug_struct("Session").field("token", &HIDDEN).field("expires_at", expires_at).finish()
    }
}

impl Debug for v1::Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Change")
            .field("kind", &self.kind())
            .field("noun", &self.noun)
            .field("name", &self.name)
            .field("revealed", &self.revealed.as_ref().map(|_secret| HIDDEN))
            .field("id", &self.id)
            .finish()
    }
}

impl Debug for v1::internal::RulesPart {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RulesPart").field("json", &HIDDEN).field("more", &self.more).finish()
    }
}
