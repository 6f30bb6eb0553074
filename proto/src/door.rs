//! Which door a service stands behind: the same service serves peers, who are trusted by mutual
//! TLS or loopback, and the holders of keys, whom [`crate::auth`] has let in.

use crate::status::{public_status, status};
use contract::{
    Error, ErrorCode, Result,
    access::{Actor, Principal},
    id::SubscriptionNumber,
    rules::{Rules, RulesReceiver},
    subscription::Subscription,
};
use std::sync::Arc;
use tonic::{
    Extensions, Request, Response, Status,
    metadata::{Ascii, MetadataValue},
};

/// Metadata in which a part says who caused a change, as [`Actor::to_ascii`].
const ACTOR: &str = "certes-actor";

/// Who is on the other side.
#[derive(Clone)]
pub(crate) enum Door {
    /// Parts of the same deployment.
    Internal,
    /// Whoever holds a key.
    Public(RulesReceiver),
}

/// Whoever makes a call.
pub(crate) enum Caller {
    /// A part, and for whom it acts.
    Peer(Option<Actor>),
    /// The holder of a key, under the rules in force.
    Key(Principal, Arc<Rules>),
}

impl Door {
    /// Who makes the call.
    pub(crate) fn caller<T>(&self, request: &Request<T>) -> Result<Caller> {
        match self {
            Self::Internal => {
                let actor = request.metadata().get(ACTOR).and_then(|actor| actor.to_str().ok());
                Ok(Caller::Peer(actor.filter(|actor| !actor.is_empty()).map(Actor::from_ascii)))
            }
            Self::Public(rules) => {
                Ok(Caller::Key(principal(request.extensions())?, rules.borrow().clone()))
            }
        }
    }

    /// Carries out a call; its error becomes a status as this side may see it.
    pub(crate) async fn serve<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<Response<T>, Status> {
        work.await.map(Response::new).map_err(|error| match self {
            Self::Internal => status(&error),
            Self::Public(_) => public_status(error),
        })
    }
}

/// Whoever the lock of the public port let in. Nobody is let in by default.
pub(crate) fn principal(extensions: &Extensions) -> Result<Principal> {
    let missing = || Error::new(ErrorCode::Unauthenticated, "a key is needed");
    extensions.get::<Principal>().cloned().ok_or_else(missing)
}

impl Caller {
    /// Who is to be recorded as the cause of a change.
    pub(crate) fn actor(self) -> Result<Actor> {
        match self {
            Self::Key(principal, _) => Ok(principal.actor),
            Self::Peer(actor) => actor.ok_or_else(|| {
                let message = format!("the metadata `{ACTOR}` is missing");
                Error::new(ErrorCode::InvalidRequest, message)
            }),
        }
    }

    /// May the caller see the deliveries of this subscription?
    pub(crate) fn sees(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Key(Principal { subscriber: Some(own), .. }, _) => {
                subscription.spec.subscriber.as_ref() == Some(own)
            }
            Self::Key(..) | Self::Peer(_) => true,
        }
    }

    /// The same for the subscription of this number.
    pub(crate) fn sees_number(&self, number: SubscriptionNumber) -> bool {
        match self {
            Self::Key(Principal { subscriber: Some(_), .. }, rules) => {
                rules.subscriptions.get(&number).is_some_and(|found| self.sees(found))
            }
            Self::Key(..) | Self::Peer(_) => true,
        }
    }
}

/// An actor as metadata.
pub(crate) fn actor_metadata(actor: &Actor) -> Result<(&'static str, MetadataValue<Ascii>)> {
    let value = actor.to_ascii().parse().map_err(Error::internal)?;
    Ok((ACTOR, value))
}
