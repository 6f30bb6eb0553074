//! What only a PostgreSQL server of one's own shows: one that goes away, comes late, wants TLS, or
//! has several replicas.

#![cfg(feature = "all")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "this is how a story fails, and a long run says how long"
)]

mod feeding;
mod outage;
mod start;
mod tls;

use certes::config::Config;
use contract::{backoff::Span, secret::Secret};
use master_api::{PostgresConfig, log};
use std::{path::Path, time::Duration};
use tests::{Deployment, Wiring};
use xtask::postgres::Server;

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

/// A server that is stopped when it is dropped.
fn running() -> Server {
    let server = Server::make().unwrap();
    server.start(&[]).unwrap();
    server
}

/// Short of patience, so that a story takes seconds.
fn on(server: &Server) -> impl Fn(&mut Config) + use<> {
    let url = server.url();
    move |config| {
        let span = |seconds| Span(Duration::from_secs(seconds));
        config.master_api.store = url.parse().unwrap();
        config.master_api.postgres = PostgresConfig {
            connect_timeout: span(2),
            read_timeout: span(3),
            write_timeout: span(3),
            lease: span(3),
            ..PostgresConfig::default()
        };
        config.master_api.secret_key = Some(Secret::new("33".repeat(32)));
        config.master_api.admin_key = Some(Secret::new(format!("certes_{}", "k".repeat(43))));
    }
}

/// One more process with everything, on the database of the server.
async fn replica(server: &Server) -> Deployment {
    Deployment::configured(Wiring::OneProcess, on(server)).await.unwrap()
}

/// All facts, and all that follows from them, as the database has them.
async fn verified(server: &Server) -> log::Report {
    let (url, scratch) = (Secret::new(server.url()), tempfile::tempdir().unwrap());
    let verify = move || verify(&url, scratch.path());
    let report = tokio::task::spawn_blocking(verify).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    report
}

fn verify(url: &Secret, scratch: &Path) -> log::Report {
    log::verify_database(url, PostgresConfig::default(), &scratch.join("indices")).unwrap()
}
