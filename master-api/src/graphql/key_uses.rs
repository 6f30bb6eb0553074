//! When keys were last used: read once for all keys that are asked for it.

use super::access::{OrShow, Result, master_api};
use async_graphql::Context;
use contract::{clock::Timestamp, id::KeyId};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::OnceCell;

/// The uses of all keys, as soon as one of them is asked for its own.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyUses(Arc<OnceCell<BTreeMap<KeyId, Timestamp>>>);

impl KeyUses {
    /// That of one key, RFC 3339.
    pub(super) async fn of_key(&self, context: &Context<'_>, key: KeyId) -> Result<Option<String>> {
        let api = master_api(context)?;
        let all = self.0.get_or_try_init(|| api.key_uses()).await.or_show()?;
        Ok(all.get(&key).map(ToString::to_string))
    }
}
