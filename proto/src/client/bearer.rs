//! A key, sent with each call of the public API.

use contract::{Error, ErrorCode, Result, secret::Secret};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// Puts `authorization: Bearer TOKEN` on each call, as in
/// `EventsClient::with_interceptor(peers.channel(), Bearer::new(&token)?)`.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// For this token. Errors: `invalid_request` if it cannot be a token.
    pub fn new(token: &Secret) -> Result<Self> {
        // Exposed because this is where a client proves who it is.
        let value = format!("Bearer {}", token.expose()).parse::<MetadataValue<Ascii>>();
        let refuse = |_invalid| Error::new(ErrorCode::InvalidRequest, "the key is not a token");
        let mut value = value.map_err(refuse)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}
