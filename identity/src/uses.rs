//! Tells Master API from time to time when keys were last used.

use contract::{authenticate::KeyUses, master_api::MasterApi};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Longest that one call may take.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Tells it every so often, for as long as it is polled. What cannot be told is told the next time.
pub async fn tell(uses: Arc<KeyUses>, master_api: Arc<dyn MasterApi>, every: Duration) {
    loop {
        sleep(every).await;
        tell_once(&uses, &*master_api).await;
    }
}

/// Tells what there is to tell.
pub async fn tell_once(uses: &KeyUses, master_api: &dyn MasterApi) {
    let met = uses.take();
    if met.is_empty() {
        return;
    }
    let why = match timeout(CALL_MAX, master_api.note_key_uses(met.clone())).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => "no answer in time".to_owned(),
    };
    tracing::debug!(why, keys = met.len(), "cannot tell yet when keys were used");
    for (key, at) in met {
        uses.note(key, at);
    }
}
