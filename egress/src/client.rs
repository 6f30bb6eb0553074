//! A client with a pool of connections over the dialler, for parts that ask others now and then.

use crate::{Dialler, Settings, client_config};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use std::path::Path;

/// An HTTP/1.1 and HTTP/2 client that dials nothing but checked addresses.
pub type GuardedClient<B> = Client<HttpsConnector<Dialler>, B>;

/// A client with these limits that trusts the public authorities and those of `extra_ca`. A
/// sentence if it cannot be made so.
pub fn client<B>(settings: &Settings, extra_ca: Option<&Path>) -> Result<GuardedClient<B>, String>
where
    B: Body + Send,
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(client_config(extra_ca)?)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(Dialler::new(settings)?);
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .build(connector))
}
