//! A server that takes connections over TLS only, with a certificate of our own authority.

use super::{PUSH, on};
use contract::{ErrorCode, secret::Secret};
use http::StatusCode;
use master_api::{MasterApi, PostgresConfig, log};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::{Deployment, Wiring, github};
use xtask::postgres::Server;

/// The settings of a server that talks TLS with the files that it has.
const TLS: [&str; 3] = ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"];
const ONLY_TLS: &str = "hostssl all all 127.0.0.1/32 trust\n";

/// An authority, and a server whose certificate is from it, for this name or address.
fn server_named(name: &str, directory: &Path) -> (Server, PathBuf) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &authority).unwrap();
    let server = Server::make().unwrap();
    server.write("server.crt", &certificate.pem()).unwrap();
    server.write("server.key", &key.serialize_pem()).unwrap();
    server.write("pg_hba.conf", ONLY_TLS).unwrap();
    server.start(&TLS).unwrap();
    let file = directory.join(format!("{name}.pem"));
    std::fs::write(&file, authority.pem()).unwrap();
    (server, file)
}

async fn refused(url: &str, tls_ca: Option<&Path>) -> contract::Error {
    let postgres = PostgresConfig { tls_ca: tls_ca.map(Path::to_owned), ..Default::default() };
    let store = url.parse().unwrap();
    let config = master_api::Config { store, postgres, ..Default::default() };
    MasterApi::reach(&config).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_kept_over_tls_and_no_other_certificate_is_trusted() {
    let directory = TempDir::new().unwrap();
    let (server, authority) = server_named("127.0.0.1", directory.path());
    let (_other, foreign) = server_named("127.0.0.2", directory.path());

    for mode in ["require", "verify-full"] {
        let url = format!("{}?sslmode={mode}", server.url());
        for ca in [Some(&*foreign), None] {
            let error = refused(&url, ca).await;
            assert_eq!(error.code, ErrorCode::InvalidDefinition);
            assert!(error.message.contains("not trusted") && error.message.contains("tls_ca"));
            assert!(error.message.contains("UnknownIssuer"), "{error}");
        }
        let certes = Deployment::configured(Wiring::OneProcess, |config| {
            on(&server)(config);
            config.master_api.store = url.parse().unwrap();
            config.master_api.postgres.tls_ca = Some(authority.clone());
        });
        let certes = certes.await.unwrap();
        let manifest = "sources:\n  - {name: github, verify: github, \
                        secret: {env: GITHUB_SECRET}, event_type: \"github/1/push\", \
                        unvalidated: accept}\n";
        certes.apply(manifest).await.unwrap();
        let answer = github(&certes.http, "push", mode, PUSH).await.unwrap();
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        certes.stop().await.unwrap();
    }
    let url = Secret::new(format!("{}?sslmode=require", server.url()));
    let trusted = PostgresConfig { tls_ca: Some(authority), ..PostgresConfig::default() };
    let scratch = directory.path().join("indices");
    let verify = move || log::verify_database(&url, trusted, &scratch).unwrap();
    let report = tokio::task::spawn_blocking(verify).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    // The server itself refuses what is not encrypted, so all this was.
    let error = refused(&server.url(), None).await;
    assert!(error.message.contains("no encryption"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused() {
    let directory = TempDir::new().unwrap();
    let (server, authority) = server_named("db.example", directory.path());
    let url = format!("{}?sslmode=verify-full", server.url());
    let error = refused(&url, Some(&authority)).await;
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert!(error.message.contains("not valid for name"), "{error}");
}
