//! `certes dev`: everything on loopback, with an example source, the shipped schemas, and a
//! receiver that prints what it verified.

use crate::{
    cli::DevArgs,
    commands::apply,
    config::{Config, load},
    environment::Environment,
    manifest, output, receiver,
    remote::Remote,
    serve::Server,
};
use anyhow::{Context, Result};
use contract::{random::Random, secret::Secret};
use rust_embed::RustEmbed;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The contracts and example payloads of the repository.
#[derive(RustEmbed)]
#[folder = "../schemas"]
#[include = "*.proto"]
#[include = "examples/*"]
struct Shipped;

/// What the example does. Bodies of all types go to the receiver, those of the server's own, too.
const MANIFEST: &str = r#"
sources:
  - name: github
    verify: github
    secret: {file: github.secret}
    event_type: "github/1/{header:x-github-event}"
    unvalidated: reject
schemas:
  - {dir: schemas}
subscriptions:
  - name: dev-receiver
    url: RECEIVER
    events: ["*/*/*", "_certes/1/*"]
    secret: {file: dev-receiver.secret}
    backoff: {kind: exponential, base: 1s, cap: 30s, jitter: equal, max_retries: 10}
"#;

/// Runs until `stop`.
pub async fn run(args: DevArgs, stop: CancellationToken) -> Result<()> {
    let config = configuration(&args)?;
    let dir = config.data_dir.clone();
    let listener = TcpListener::bind(args.receiver).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.receiver))?;
    let receiver = listener.local_addr()?;

    let environment = Environment::system();
    let random = Arc::clone(&environment.random);
    let github = secret(&dir.join("github.secret"), || hex_secret(random.as_ref()))?;
    let signing = secret(&dir.join("dev-receiver.secret"), || webhook_secret(random.as_ref()))?;
    drop(github);
    unpack(&dir.join("schemas"))?;
    let text = MANIFEST.replace("RECEIVER", &format!("http://{receiver}/hook"));
    let file = dir.join("dev.yaml");
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;

    let limits = config.gateway.listener.clone();
    let mut server = Server::start(config, environment).await?;
    let printer = Arc::new(|line: &str| drop(output::line(line)));
    let receiving =
        gateway::serve::serve(listener, receiver::router(signing, printer), limits, stop.clone());
    let receiving = tokio::spawn(receiving);

    let http = server.addresses().http.context("no public listener")?;
    let key = std::fs::read_to_string(dir.join(crate::client::ADMIN_KEY_FILE))?;
    let remote = Remote::connect(&format!("http://{http}"), Secret::new(key.trim())).await?;
    apply::carry_out(&remote, manifest::read(&file, &crate::config::variable)?).await?;
    greet(&server, &dir, receiver)?;

    tokio::select! {
        () = stop.cancelled() => {}
        error = server.failed() => return Err(error),
    }
    output::line("stopping: what is in flight is finished first")?;
    server.stop().await?;
    Ok(receiving.await??)
}

/// The configuration, on loopback and in a directory of its own unless somebody says otherwise.
fn configuration(args: &DevArgs) -> Result<Config> {
    let (mut config, origins) = load(&args.config.layers())?;
    let is_default = |key: &str| origins.get(key) == Some(&crate::config::Origin::Default);
    if is_default("data_dir") {
        config.data_dir = PathBuf::from("./data/dev");
    }
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if is_default("gateway.http") {
        config.gateway.http = loopback(config.gateway.http.port());
    }
    if is_default("gateway.grpc") {
        config.gateway.grpc = loopback(config.gateway.grpc.port());
    }
    for network in ["127.0.0.0/8", "::1/128"] {
        config.consumer.allowed_networks.push(network.parse()?);
    }
    Ok(config)
}

/// The secret in a file; made and written (mode 0600) if it is not there.
fn secret(file: &Path, make: impl FnOnce() -> Secret) -> Result<Secret> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    if let Ok(text) = std::fs::read_to_string(file) {
        return Ok(Secret::new(text.trim()));
    }
    let secret = make();
    let write = || {
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(secret.expose().as_bytes())
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(secret)
}

fn hex_secret(random: &dyn Random) -> Secret {
    let mut bytes = [0; 20];
    random.fill(&mut bytes);
    Secret::new(hex::encode(bytes))
}

fn webhook_secret(random: &dyn Random) -> Secret {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    Secret::webhook(&bytes)
}

/// Writes the shipped schemas and examples out, where the manifest and `certes send` find them.
fn unpack(dir: &Path) -> Result<()> {
    for name in Shipped::iter() {
        let (Some(file), path) = (Shipped::get(&name), dir.join(name.as_ref())) else { continue };
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(&path, &file.data)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Says what runs where, and the exact lines to try.
fn greet(server: &Server, dir: &Path, receiver: SocketAddr) -> Result<()> {
    let addresses = server.addresses();
    let shown = |address: Option<SocketAddr>| {
        address.map_or_else(|| "-".to_owned(), |address| address.to_string())
    };
    let http = shown(addresses.http);
    let certes = own_name();
    let dir = dir.display();
    output::line(&format!(
        "certes {version} is ready, with its data in {dir}

  http      http://{http}        events, GraphQL at /api/graphql
  grpc      http://{grpc}
  admin     http://{admin}/metrics
  receiver  http://{receiver}/hook   prints below what it verified

Try, in a second terminal:

  {certes} send github push {dir}/schemas/examples/github/push.json

  curl -i http://{http}/events/github/1/ping -H 'content-type: application/json' \\
       -H \"authorization: Bearer $(cat {dir}/admin.key)\" -d '{{\"zen\": \"Keep it simple.\"}}'

  {certes} event list
  {certes} tail

Stop with Ctrl-C.
",
        version = env!("CARGO_PKG_VERSION"),
        grpc = shown(addresses.grpc),
        admin = addresses.admin,
    ))
}

/// How this very program is called from here.
fn own_name() -> String {
    let Ok(program) = std::env::current_exe() else { return "certes".to_owned() };
    let relative = std::env::current_dir()
        .ok()
        .and_then(|dir| program.strip_prefix(dir).ok().map(|path| format!("./{}", path.display())));
    relative.unwrap_or_else(|| program.display().to_string())
}
