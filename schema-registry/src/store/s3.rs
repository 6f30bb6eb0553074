//! Bundles in a bucket that speaks S3: one object each, named by its SHA-256.

mod http;

use super::{BundleStore, verified};
use crate::config::{Bucket, S3Config};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{Error, ErrorCode, Result};
use http::Connector;
use object_store::{
    BackoffConfig, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
};
use std::time::Duration;

/// The first pause before a request is made again, and the longest.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Keeps bundles as `PREFIX/<sha-256>.bundle` and notes as `PREFIX/<name>.note`. An object appears whole or not at all: that is what
/// S3 promises of a PUT.
#[derive(Debug)]
pub struct S3Store {
    client: AmazonS3,
    prefix: String,
    deadline: Duration,
}

impl S3Store {
    /// A store in `bucket`. `variables` are the `AWS_...` variables of the environment, with their
    /// usual meaning; what `config` says goes before them. Nothing is asked yet.
    /// Errors: `invalid_definition`.
    pub fn new(
        bucket: &Bucket,
        config: &S3Config,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut builder = AmazonS3Builder::new();
        for (name, value) in variables {
            // Variables that mean nothing to a store are for others.
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(endpoint) = &config.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http:"));
        }
        if let Some(region) = &config.region {
            builder = builder.with_region(region);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: RETRY_AFTER_MIN,
                max_backoff: RETRY_AFTER_MAX,
                base: 2.0,
            },
            max_retries: config.retries_max,
            retry_timeout: config.deadline.0,
        };
        let client = builder
            .with_bucket_name(&bucket.name)
            .with_virtual_hosted_style_request(config.virtual_hosts)
            .with_retry(retry)
            .with_http_connector(Connector { timeout: config.timeout.0 })
            .build()
            .map_err(|error| Error::new(ErrorCode::InvalidDefinition, error.to_string()))?;
        Ok(Self { client, prefix: bucket.prefix.clone(), deadline: config.deadline.0 })
    }

    fn path(&self, digest: [u8; 32]) -> Path {
        Path::from(format!("{}/{}.bundle", self.prefix, hex::encode(digest)))
    }

    fn note_path(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}.note", self.prefix))
    }

    async fn write(&self, path: &Path, bytes: Bytes) -> Result<()> {
        match self.within("write", self.client.put(path, bytes.into())).await? {
            Some(_) => Ok(()),
            None => {
                let message = "the bucket of the schema store is not there";
                Err(Error::new(ErrorCode::Unavailable, message))
            }
        }
    }

    async fn read(&self, path: &Path) -> Result<Option<Bytes>> {
        let read = async { self.client.get(path).await?.bytes().await };
        self.within("read", read).await
    }

    /// The answer of the bucket within the deadline, over all its retries.
    async fn within<T>(
        &self,
        doing: &str,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => {
                tracing::error!(%error, "schema store cannot {doing}");
                let message = format!("the schema store cannot {doing} now");
                Err(Error::new(ErrorCode::Unavailable, message))
            }
            Err(_elapsed) => {
                let message = format!("the schema store did not {doing} in time");
                Err(Error::new(ErrorCode::DeadlineExceeded, message))
            }
        }
    }
}

#[async_trait]
impl BundleStore for S3Store {
    async fn put(&self, digest: [u8; 32], bytes: Bytes) -> Result<()> {
        self.write(&self.path(digest), verified(digest, bytes)?).await
    }

    async fn get(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        let found = self.read(&self.path(digest)).await?;
        found.map(|bytes| verified(digest, bytes)).transpose()
    }

    async fn put_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.write(&self.note_path(name), bytes).await
    }

    async fn note(&self, name: &str) -> Result<Option<Bytes>> {
        self.read(&self.note_path(name)).await
    }
}

#[cfg(test)]
mod tests;
