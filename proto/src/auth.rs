//! The lock of the public port: `authorization: Bearer TOKEN`, checked before a message is read.

use crate::{access::Rpc, status::public_status};
use contract::{
    Error, ErrorCode, Result, access::Principal, clock::Clock, rules::RulesReceiver, secret::Secret,
};
use futures_util::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use std::{
    sync::Arc,
    task::{Context, Poll},
};
use tower::{Layer, Service};

/// Services that anybody may call.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Puts [`Auth`] before a service.
#[derive(Clone)]
pub struct AuthLayer {
    rules: RulesReceiver,
    clock: Arc<dyn Clock>,
}

/// Lets through whoever holds a key that the RPC's row of [`crate::access::TABLE`] admits, with
/// the [`Principal`] in the request's extensions.
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    lock: AuthLayer,
}

impl AuthLayer {
    /// A lock for the keys in `rules`.
    pub fn new(rules: RulesReceiver, clock: Arc<dyn Clock>) -> Self {
        Self { rules, clock }
    }

    /// Who calls, if they may; None where nobody has to say.
    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Principal>> {
        if OPEN.iter().any(|service| path.starts_with(service)) {
            return Ok(None);
        }
        let unknown = || Error::new(ErrorCode::MethodNotAllowed, format!("no RPC `{path}`"));
        let rpc = Rpc::find(path).ok_or_else(unknown)?;
        let principal = self.authenticate(headers)?;
        rpc.admit(&principal)?;
        Ok(Some(principal))
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal> {
        let refuse = |why: &str| Error::new(ErrorCode::Unauthenticated, why);
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Secret::new(token.trim()))
            .ok_or_else(|| refuse("a key is needed: `authorization: Bearer certes_...`"))?;
        let principal = self.rules.borrow().authenticate(&token, self.clock.now());
        principal.ok_or_else(|| refuse("the key is unknown, expired or revoked"))
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, lock: self.clone() }
    }
}

impl<S, In, Out> Service<Request<In>> for Auth<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    Out: Default,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Out>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        match self.lock.admit(request.uri().path(), request.headers()) {
            Ok(principal) => {
                if let Some(principal) = principal {
                    request.extensions_mut().insert(principal);
                }
                Either::Left(self.inner.call(request))
            }
            Err(error) => Either::Right(ready(Ok(public_status(error).into_http()))),
        }
    }
}
