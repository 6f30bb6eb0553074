//! Whether there is a database to begin with: it may start later than whoever needs it.

use super::{
    PostgresConfig,
    session::{self, Lent},
};
use crate::store::StoreError;
use contract::secret::Secret;
use std::{error::Error, io, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How often to say that it is still not there.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Waits until the database answers, at most [`PostgresConfig::start_timeout`].
///
/// Errors: `Unavailable` when the time is over; `Misconfigured` at once for what no waiting mends:
/// a certificate that is not trusted, a user or a database that is not there.
pub async fn reach(url: &Secret, config: &PostgresConfig) -> Result<(), StoreError> {
    config.check().map_err(StoreError::Misconfigured)?;
    let server = session::server(url, config)?;
    let pool = session::pool(&server, config, 1, config.connect_timeout.0)?;
    let (limit, begun) = (config.start_timeout.0, Instant::now());
    let mut said: Option<Instant> = None;
    loop {
        let asked = timeout(config.connect_timeout.0, Lent::from(&pool)).await;
        let error = match asked {
            Ok(Ok(_answers)) => return Ok(()),
            Ok(Err(StoreError::Unavailable(why))) => why,
            Ok(Err(other)) => return Err(other),
            Err(_elapsed) => format!("no answer within {:?}", config.connect_timeout.0),
        };
        let waited = begun.elapsed();
        if waited >= limit {
            let why = format!("{error}; waited {limit:?} for it (`start_timeout`)");
            return Err(StoreError::Unavailable(why));
        }
        if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let left_s = (limit - waited).as_secs();
            tracing::warn!(error, left_s, "waiting for the state database");
            said = Some(Instant::now());
        }
        sleep(PAUSE.min(limit - waited)).await;
    }
}

/// What the server or the way to it said when there was no connection yet.
pub fn refused(error: &tokio_postgres::Error) -> StoreError {
    let misfits = [
        &SqlState::INVALID_PASSWORD,
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        &SqlState::INVALID_CATALOG_NAME,
    ];
    if error.code().is_some_and(|code| misfits.contains(&code)) {
        let why = session::cause(error);
        return StoreError::Misconfigured(format!("the state database refuses us: {why}"));
    }
    match certificate_error(error) {
        Some(why) => StoreError::Misconfigured(format!(
            "the state database shows a certificate that is not trusted: {why}; \
             `master_api.postgres.tls_ca` names the authority that it is to be from, and the URL \
             the host that it is to be for"
        )),
        None => session::failed(error),
    }
}

fn certificate_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    let within = error.source()?.downcast_ref::<io::Error>()?.get_ref()?;
    let error = within.downcast_ref::<rustls::Error>()?;
    matches!(error, rustls::Error::InvalidCertificate(_)).then_some(error)
}
