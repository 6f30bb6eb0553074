//! What a process runs once it is wired, and where it listens.

use axum::Router;
use futures_util::future::BoxFuture;
use master_api::MasterApi as Store;
use std::{collections::HashMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// A listener of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// 9600
    PublicHttp,
    /// 9601
    PublicGrpc,
    /// 9620
    Broker,
    /// 9630
    SchemaRegistry,
    /// 9610
    MasterApiHttp,
    /// 9611
    MasterApiGrpc,
    /// 9640
    Queue,
}

impl Door {
    /// May anybody knock?
    pub fn is_public(self) -> bool {
        matches!(self, Self::PublicHttp | Self::PublicGrpc)
    }
}

/// A loop that runs until its token is cancelled and the work in hand is finished.
pub type Loop = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// What a process runs.
pub struct Parts {
    /// What stands behind each listener.
    pub routers: HashMap<Door, Router>,
    /// What stands behind the operators' listener.
    pub admin: Router,
    /// What runs without being called.
    pub loops: Vec<Loop>,
    /// Master API, to be closed last.
    pub store: Option<Arc<Store>>,
    /// To be cancelled first: the process is not ready from then on.
    pub stopping: CancellationToken,
    /// To be cancelled before inner doors are drained: ends the streams of rules.
    pub streams: CancellationToken,
}
