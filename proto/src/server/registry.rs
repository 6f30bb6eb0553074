//! Schemas, to be read, checked and published.

use crate::{
    convert::{into_each, message, parsed},
    door::Door,
    v1,
};
use contract::{Result, registry::SchemaRegistry, schema::SchemaSource};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.SchemaRegistry`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) registry: Arc<dyn SchemaRegistry>,
}

#[tonic::async_trait]
impl v1::schema_registry_server::SchemaRegistry for Service {
    async fn get(
        &self,
        request: Request<v1::GetSchemaRequest>,
    ) -> Result<Response<v1::SchemaBundle>, Status> {
        let work = async {
            let uri = parsed(&request.get_ref().uri, "uri")?;
            let bundle = match request.get_ref().refresh {
                false => self.registry.get(&uri).await?,
                true => self.registry.refresh(&uri).await?,
            };
            Ok(Arc::unwrap_or_clone(bundle).into())
        };
        self.door.serve(work).await
    }

    async fn list(
        &self,
        _request: Request<v1::ListSchemaVersionsRequest>,
    ) -> Result<Response<v1::ListSchemaVersionsResponse>, Status> {
        let work = async {
            let schemas = into_each(self.registry.list().await?);
            Ok(v1::ListSchemaVersionsResponse { schemas })
        };
        self.door.serve(work).await
    }

    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::Published>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let source = message(request.into_inner().source, "source", SchemaSource::try_from)?;
            Ok(self.registry.publish(actor, source).await?.into())
        };
        self.door.serve(work).await
    }

    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::Published>, Status> {
        let work = async {
            let source = message(request.into_inner().source, "source", SchemaSource::try_from)?;
            Ok(self.registry.check(source).await?.into())
        };
        self.door.serve(work).await
    }

    async fn ping(
        &self,
        _request: Request<v1::PingRequest>,
    ) -> Result<Response<v1::PingResponse>, Status> {
        let work = async { self.registry.ping().await.map(|()| v1::PingResponse {}) };
        self.door.serve(work).await
    }
}
