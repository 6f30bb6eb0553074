//! The replicas of one database: who lives, what each can read, and who leads.
//!
//! The leadership is a lease with a fence, a number that grows with every change of its holder.
//! Whoever writes as the leader checks holder and fence in the same transaction
//! ([`super::write`]), so one that was long away and does not know it writes nothing as such.
//! All times are the server's.

use super::{
    Inner, LEADER,
    session::{Lent, failed},
};
use crate::store::StoreError;

/// Rows of replicas that were not heard of for so long go.
const FORGET: &str = "1 day";

impl Inner {
    /// Makes this replica known, while it has the head.
    pub async fn join(&self, format: u32) -> Result<(), StoreError> {
        let (holding, _) = self.lock().await?;
        self.note_replica(format).await?;
        holding.commit().await.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Says that this replica lives, and asks for the leadership.
    pub async fn beat(&self, format: u32) -> Result<(), StoreError> {
        self.note_replica(format).await?;
        let (schema, lease_ms) = (&self.config.schema, self.lease_ms());
        let client = Lent::from(&self.sessions.writing).await?;
        let ask = format!(
            "INSERT INTO {schema}.leases AS held (role, holder, fence, expires_at)
             VALUES ($1, $2, 1, now() + interval '{lease_ms} milliseconds')
             ON CONFLICT (role) DO UPDATE SET holder = excluded.holder,
                 fence = held.fence + CASE WHEN held.holder = excluded.holder THEN 0 ELSE 1 END,
                 expires_at = excluded.expires_at
             WHERE held.holder = excluded.holder OR held.expires_at < now()
             RETURNING fence"
        );
        let asked = client.query_opt(&ask, &[&LEADER, &self.replica]).await;
        let fence = asked.map_err(|e| failed(&e))?.map(|row| row.get(0));
        client.give_back();
        self.note_leadership(fence);
        Ok(())
    }

    async fn note_replica(&self, format: u32) -> Result<(), StoreError> {
        let schema = &self.config.schema;
        let client = Lent::from(&self.sessions.writing).await?;
        let here = format!(
            "INSERT INTO {schema}.replicas (id, format, version) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET heard_at = now(), format = excluded.format"
        );
        let format = i32::try_from(format).unwrap_or(i32::MAX);
        let version = env!("CARGO_PKG_VERSION");
        client.execute(&here, &[&self.replica, &format, &version]).await.map_err(|e| failed(&e))?;
        let forget =
            format!("DELETE FROM {schema}.replicas WHERE heard_at < now() - interval '{FORGET}'");
        client.batch_execute(&forget).await.map_err(|e| failed(&e))?;
        client.give_back();
        Ok(())
    }

    /// The newest format that every living replica reads.
    pub async fn format_of_all(&self) -> Result<u32, StoreError> {
        let (schema, lease_ms) = (&self.config.schema, self.lease_ms());
        let client = Lent::from(&self.sessions.writing).await?;
        let lowest = format!(
            "SELECT min(format) FROM {schema}.replicas
             WHERE heard_at > now() - interval '{lease_ms} milliseconds'"
        );
        let row = client.query_one(&lowest, &[]).await.map_err(|e| failed(&e))?;
        let lowest: Option<i32> = row.get(0);
        client.give_back();
        Ok(lowest.and_then(|format| u32::try_from(format).ok()).unwrap_or(0))
    }

    /// Leaves no trace but facts.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let schema = &self.config.schema;
        let client = Lent::from(&self.sessions.writing).await?;
        let gone = format!("DELETE FROM {schema}.replicas WHERE id = $1");
        let free = format!("UPDATE {schema}.leases SET expires_at = now() WHERE holder = $1");
        for sql in [gone, free] {
            client.execute(&sql, &[&self.replica]).await.map_err(|e| failed(&e))?;
        }
        client.give_back();
        Ok(())
    }

    fn lease_ms(&self) -> u128 {
        self.config.lease.0.as_millis()
    }
}
