//! The lock of the public port: `authorization: Bearer TOKEN`, checked before a message is read.

use crate::{access::Rpc, status::public_status};
use contract::{
    Error, ErrorCode, Result,
    access::Principal,
    authenticate::{Authenticate, token_of},
    secret::Secret,
};
use futures_util::future::BoxFuture;
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
    who: Arc<dyn Authenticate>,
}

/// Lets through whoever holds a key or token that the RPC's row of [`crate::access::TABLE`] admits, with
/// the [`Principal`] in the request's extensions.
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    lock: AuthLayer,
}

impl AuthLayer {
    /// A lock for those whom `who` knows.
    pub fn new(who: Arc<dyn Authenticate>) -> Self {
        Self { who }
    }

    /// Who calls, if they may; None where nobody has to say.
    async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Option<Principal>> {
        if OPEN.iter().any(|service| path.starts_with(service)) {
            return Ok(None);
        }
        let unknown = || Error::new(ErrorCode::MethodNotAllowed, format!("no RPC `{path}`"));
        let rpc = Rpc::find(path).ok_or_else(unknown)?;
        let token = token(headers)?;
        let principal = self.who.authenticate(&token).await?;
        rpc.admit(&principal)?;
        Ok(Some(principal))
    }
}

/// The key or token of a call.
pub(crate) fn token(headers: &HeaderMap) -> Result<Secret> {
    token_of(headers.get(AUTHORIZATION).map(|value| value.as_bytes()))
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, lock: self.clone() }
    }
}

impl<S, In, Out> Service<Request<In>> for Auth<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
    Out: Default,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        // The one that is ready goes with the request, and a new one takes its place.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let lock = self.lock.clone();
        Box::pin(async move {
            match lock.admit(request.uri().path(), request.headers()).await {
                Ok(principal) => {
                    if let Some(principal) = principal {
                        request.extensions_mut().insert(principal);
                    }
                    inner.call(request).await
                }
                Err(error) => Ok(public_status(error).into_http()),
            }
        })
    }
}
