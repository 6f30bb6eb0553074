//! A start for which the database is late, or not to be had.

use super::{on, replica, running};
use contract::{ErrorCode, backoff::Span, secret::Secret};
use master_api::{MasterApi, PostgresConfig};
use std::time::{Duration, Instant};
use tests::{Deployment, Wiring};
use xtask::postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_database_that_is_late() {
    let server = Server::make().unwrap();
    let starting = tokio::spawn(Deployment::configured(Wiring::OneProcess, on(&server)));
    // It has found out by then that there is nothing, or does so in a moment.
    refused(&server, Duration::from_millis(300)).await;
    assert!(!starting.is_finished(), "it waits");
    tokio::task::block_in_place(|| server.start(&[]).unwrap());
    let certes = starting.await.unwrap().unwrap();
    assert!(certes.is_ready().await.unwrap());
    certes.stop().await.unwrap();
}

/// What it says when it has waited for so long.
async fn refused(server: &Server, limit: Duration) -> contract::Error {
    let store = server.url().parse().unwrap();
    let postgres = PostgresConfig { start_timeout: Span(limit), ..PostgresConfig::default() };
    let config = master_api::Config { store, postgres, ..master_api::Config::default() };
    MasterApi::reach(&config).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_does_not_wait_for_ever_and_says_why() {
    let server = Server::make().unwrap();
    let begun = Instant::now();
    let error = refused(&server, Duration::from_secs(1)).await;
    assert!(begun.elapsed() >= Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(4));
    assert_eq!(error.code, ErrorCode::Unavailable);
    for part in ["the state database does not answer", "refused", "1s", "start_timeout"] {
        assert!(error.message.contains(part), "{error}");
    }
}

/// No waiting mends these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_user_or_database_is_named_at_once() {
    let server = running();
    drop(replica(&server).await);
    let base = server.url();
    for (url, named) in [
        (base.replace("/postgres", "/nowhere"), "database \"nowhere\" does not exist"),
        (base.replace("certes@", "nobody@"), "role \"nobody\" does not exist"),
    ] {
        let config = master_api::Config {
            store: url.parse().unwrap(),
            secret_key: Some(Secret::new("33".repeat(32))),
            ..master_api::Config::default()
        };
        let begun = Instant::now();
        let error = MasterApi::reach(&config).await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(error.code, ErrorCode::InvalidDefinition);
        assert!(error.message.contains(named), "{error}");
    }
}
