//! Schemas, to be read, checked and published.

use crate::{
    convert::{into_each, message, parsed, rulebook_from, verdicts_as_wire},
    door::Door,
    v1,
};
use contract::{
    Result,
    registry::SchemaRegistry,
    schema::{SchemaSet, SchemaSource},
};
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

    async fn publish_all(
        &self,
        request: Request<v1::PublishAllRequest>,
    ) -> Result<Response<v1::PublishAllResponse>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let set = message(request.into_inner().set, "set", SchemaSet::try_from)?;
            Ok(verdicts_as_wire(self.registry.publish_all(actor, set).await?))
        };
        self.door.serve(work).await
    }

    async fn check_all(
        &self,
        request: Request<v1::CheckAllRequest>,
    ) -> Result<Response<v1::PublishAllResponse>, Status> {
        let work = async {
            let set = message(request.into_inner().set, "set", SchemaSet::try_from)?;
            Ok(verdicts_as_wire(self.registry.check_all(set).await?))
        };
        self.door.serve(work).await
    }

    async fn announce(
        &self,
        request: Request<v1::AnnounceRequest>,
    ) -> Result<Response<v1::AnnounceResponse>, Status> {
        let work = async {
            let announced = self.registry.announce(&request.get_ref().domain).await;
            announced.map(|()| v1::AnnounceResponse {})
        };
        self.door.serve(work).await
    }

    async fn list_peer_marks(
        &self,
        _request: Request<v1::ListPeerMarksRequest>,
    ) -> Result<Response<v1::ListPeerMarksResponse>, Status> {
        let work = async {
            let marks = self.registry.peer_marks().await?;
            Ok(v1::ListPeerMarksResponse { marks })
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

    async fn get_version(
        &self,
        request: Request<v1::GetSchemaVersionRequest>,
    ) -> Result<Response<v1::SchemaBundle>, Status> {
        let work = async {
            let request = request.get_ref();
            let uri = parsed(&request.uri, "uri")?;
            let number = parsed(&request.version, "version")?;
            let bundle = self.registry.version(&uri, number).await?;
            Ok(Arc::unwrap_or_clone(bundle).into())
        };
        self.door.serve(work).await
    }

    async fn list_versions(
        &self,
        request: Request<v1::ListVersionsOfSchemaRequest>,
    ) -> Result<Response<v1::ListSchemaVersionsResponse>, Status> {
        let work = async {
            let uri = parsed(&request.get_ref().uri, "uri")?;
            let schemas = into_each(self.registry.versions(&uri).await?);
            Ok(v1::ListSchemaVersionsResponse { schemas })
        };
        self.door.serve(work).await
    }

    async fn diff(
        &self,
        request: Request<v1::DiffSchemaRequest>,
    ) -> Result<Response<v1::DiffSchemaResponse>, Status> {
        let work = async {
            let request = request.get_ref();
            let uri = parsed(&request.uri, "uri")?;
            let from = parsed(&request.from, "from")?;
            let to = parsed(&request.to, "to")?;
            let rulebook = rulebook_from(request.rulebook)?;
            let differences = self.registry.diff(&uri, from, to, rulebook).await?;
            Ok(v1::DiffSchemaResponse { differences: into_each(differences) })
        };
        self.door.serve(work).await
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteSchemaRequest>,
    ) -> Result<Response<v1::DeleteSchemaResponse>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let uri = parsed(&request.get_ref().uri, "uri")?;
            self.registry.delete(actor, &uri).await?;
            Ok(v1::DeleteSchemaResponse {})
        };
        self.door.serve(work).await
    }
}
