//! The consumer and its arrows.

use crate::{
    config::Config, deliver::Deliverer, held::Leases, metrics::Metrics, prepared::Snapshots,
    token::Tokens,
};
use contract::{
    Error, ErrorCode, Result, clock::Clock, master_api::MasterApi, queue::MessageQueue,
    random::Random, schema::PayloadConverter,
};
use std::{fmt, sync::Arc};

/// Takes deliveries from the queue and brings them to their subscribers.
pub struct Consumer {
    pub(crate) config: Config,
    pub(crate) master_api: Arc<dyn MasterApi>,
    pub(crate) queue: Arc<dyn MessageQueue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) metrics: Metrics,
    pub(crate) snapshots: Snapshots,
    pub(crate) leases: Arc<Leases>,
    pub(crate) deliverer: Deliverer,
    pub(crate) tokens: Tokens,
    pub(crate) converter: Arc<dyn PayloadConverter>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Consumer {
    /// A consumer of `queue`. Errors: `invalid_definition` when `config` contradicts itself or
    /// names a file that cannot be used.
    #[expect(clippy::too_many_arguments, reason = "one for each arrow of the diagram")]
    pub fn new(
        config: Config,
        master_api: Arc<dyn MasterApi>,
        queue: Arc<dyn MessageQueue>,
        converter: Arc<dyn PayloadConverter>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        let refuse =
            |why: String| Error::new(ErrorCode::InvalidDefinition, format!("consumer: {why}"));
        config.check().map_err(refuse)?;
        Ok(Arc::new(Self {
            snapshots: Snapshots::new(master_api.rules()),
            leases: Leases::new(Arc::clone(&queue), Arc::clone(&clock)),
            tokens: Tokens::new(&config, Arc::clone(&clock)).map_err(refuse)?,
            deliverer: Deliverer::new(&config, Arc::clone(&clock)).map_err(refuse)?,
            config,
            master_api,
            queue,
            converter,
            clock,
            random,
            metrics,
        }))
    }
}
