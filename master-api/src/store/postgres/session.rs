//! Connections to the server, in bounded pools, and the way from threads that may block to the
//! few that drive the connections. Every wait has a deadline.

use super::PostgresConfig;
use crate::store::StoreError;
use contract::secret::Secret;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{error::Error as _, future::Future, path::Path, sync::mpsc, time::Duration};
use tokio::runtime;
use tokio_postgres::{
    Config, NoTls,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Connections for the writer, for the beats, and for making and dropping tables.
const WRITING_MAX: usize = 3;

/// Two pools, so that readers never keep the writer waiting, and a runtime of their own: callers
/// block, wherever they are.
pub struct Sessions {
    runtime: Option<runtime::Runtime>,
    /// For reading.
    pub reading: Pool,
    /// For everything else.
    pub writing: Pool,
}

impl Sessions {
    /// Opens none yet. `url` as in `postgres://user:password@host:port/database?sslmode=require`.
    pub fn new(url: &Secret, config: &PostgresConfig) -> Result<Self, StoreError> {
        // Exposed to be connected with.
        let mut server: Config = url.expose().parse().map_err(|error: tokio_postgres::Error| {
            StoreError::Misconfigured(format!("the URL of the state database: {}", cause(&error)))
        })?;
        if server.get_application_name().is_none() {
            server.application_name("certes");
        }
        server
            .connect_timeout(config.connect_timeout.0)
            .tcp_user_timeout(config.write_timeout.0)
            .keepalives_idle(config.connect_timeout.0)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        if server.get_ssl_mode() == SslMode::Prefer {
            let plain = server.get_hosts().iter().all(is_here);
            server.ssl_mode(if plain { SslMode::Disable } else { SslMode::Require });
        }
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("certes-postgres")
            .enable_all()
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        let pool = |size, wait| pool(&server, config, size, wait);
        let reading = pool(config.connections_max, config.read_timeout.0)?;
        let writing = pool(WRITING_MAX, config.write_timeout.0)?;
        Ok(Self { runtime: Some(runtime), reading, writing })
    }

    /// Has the future done and waits for it, at most for `limit`. Never call it from the threads
    /// that it is done on.
    pub fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("it was closed".to_owned());
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let (reply, answer) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            let done = tokio::time::timeout(limit, work).await.unwrap_or_else(|_elapsed| {
                Err(StoreError::Unavailable(format!("no answer within {limit:?}")))
            });
            // Whoever waits does so until this comes.
            drop(reply.send(done));
        });
        answer.recv().map_err(|_gone| gone())?
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait, which async callers must not.
            runtime.shutdown_background();
        }
    }
}

/// What the server or the way to it said. As long as nothing is being committed, whatever it was,
/// nothing is written.
pub fn failed(error: &tokio_postgres::Error) -> StoreError {
    StoreError::Unavailable(cause(error))
}

fn cause(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn pool(
    server: &Config,
    config: &PostgresConfig,
    size: usize,
    wait: Duration,
) -> Result<Pool, StoreError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if server.get_ssl_mode() == SslMode::Disable {
        Manager::from_config(server.clone(), NoTls, recycling)
    } else {
        let tls = MakeRustlsConnect::new(tls(config.tls_ca.as_deref())?);
        Manager::from_config(server.clone(), tls, recycling)
    };
    Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(wait))
        .create_timeout(Some(config.connect_timeout.0))
        .build()
        .map_err(|error| StoreError::Misconfigured(error.to_string()))
}

/// The server has to show a certificate of its name.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let bad = |error: &dyn std::fmt::Display| {
                StoreError::Misconfigured(format!("`tls_ca` {}: {error}", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| bad(&e))? {
                roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
            }
            if roots.is_empty() {
                return Err(bad(&"there is no certificate in it"));
            }
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Misconfigured(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A connection on loan. Only one that was given back is used again: one that is dropped is in
/// the middle of something, and closed with it.
pub struct Lent(Option<Object>);

impl Lent {
    /// One that is free, or a new one.
    pub async fn from(pool: &Pool) -> Result<Self, StoreError> {
        let object = pool.get().await.map_err(|error| match &error {
            deadpool_postgres::PoolError::Backend(error) => failed(error),
            other => StoreError::Unavailable(other.to_string()),
        })?;
        Ok(Self(Some(object)))
    }

    /// It is idle again.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl std::ops::Deref for Lent {
    type Target = Object;
    #[expect(clippy::expect_used, reason = "it is there until it is given back, which takes it")]
    fn deref(&self) -> &Object {
        self.0.as_ref().expect("a connection that was not given back")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
