//! The port [`Log`]: facts in order, from both chains, and the cursors of those who follow them.

use crate::{
    fact::{Chain, check_kinds},
    log::Look,
    service::MasterApi,
    store::Table,
    tables::{self, Head},
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    id::Sequence,
    limits::NAME_LENGTH_MAX,
    log::{LogHead, LogPage, LogQuery},
    master_api::Log,
};
use tokio::time::{Instant, timeout_at};

#[async_trait]
impl Log for MasterApi {
    async fn facts(&self, mut query: LogQuery) -> Result<LogPage> {
        query.filter.check()?;
        check_kinds(&query.filter.kinds)?;
        let until = Instant::now() + query.patience();
        // All facts of the configuration are notable.
        let rare = query.filter.notable || query.filter.chain == Some(Chain::Configuration);
        let tip = if rare { &self.shared.notable } else { &self.shared.tip };
        let mut tip = tip.subscribe();
        loop {
            let asked = query.clone();
            let page = self.blocking(move |shared| {
                // The head first: a day that closes between the two looks is then found as closed.
                let head = *shared.head();
                Look::new(shared.rows(), &head, &shared.state.load()).page(&asked)
            });
            let page = page.await?;
            let read_to = page.read_to;
            if !page.facts.is_empty() || page.more {
                return Ok(page);
            }
            match timeout_at(until, tip.wait_for(|newest| *newest > read_to)).await {
                Ok(Ok(_)) => query.after = read_to,
                Ok(Err(_)) | Err(_) => return Ok(page),
            }
        }
    }

    async fn log_head(&self) -> Result<LogHead> {
        let Head { sequence, time, configuration, traffic, .. } = *self.shared.head();
        let (configuration_hash, traffic_hash) = (configuration.to_string(), traffic.to_string());
        Ok(LogHead { sequence, time, configuration_hash, traffic_hash })
    }

    async fn cursor(&self, follower: &str) -> Result<Option<Sequence>> {
        if let Some(cursor) = self.shared.followers().cursor(follower) {
            return Ok(Some(cursor));
        }
        let key = tables::follower_key(follower);
        let row = self.quick(move |shared| Ok(shared.store.get(Table::Cursors, &key)?)).await?;
        Ok(row.as_deref().and_then(tables::sequence_of))
    }

    async fn move_cursor(&self, follower: &str, to: Sequence) -> Result<()> {
        if follower.is_empty() || follower.len() > NAME_LENGTH_MAX {
            let text = format!("a follower's name has 1 to {NAME_LENGTH_MAX} bytes");
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        let before = self.cursor(follower).await?;
        self.shared.followers().advance(follower, before, to)
    }
}
