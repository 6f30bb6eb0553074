//! Generates messages, clients and servers from `proto/`, without protoc, and writes the
//! descriptors of the public services for reflection.

use protox::prost::Message as _;
use std::{env, fs, path::PathBuf};

const PUBLIC: [&str; 12] = [
    "certes/v1/types.proto",
    "certes/v1/broker.proto",
    "certes/v1/events.proto",
    "certes/v1/deliveries.proto",
    "certes/v1/registry.proto",
    "certes/v1/configuration.proto",
    "certes/v1/log.proto",
    "certes/v1/live.proto",
    "certes/v1/past.proto",
    "certes/v1/retention.proto",
    "certes/v1/pull.proto",
    "certes/v1/replays.proto",
];
const INTERNAL: [&str; 3] = [
    "certes/v1/internal/broker.proto",
    "certes/v1/internal/master_api.proto",
    "certes/v1/internal/queue.proto",
];
/// Messages that carry secrets: `src/redact.rs` prints them without.
const SECRET: [&str; 10] = [
    ".certes.v1.SubscriptionAuth",
    ".certes.v1.PutSource",
    ".certes.v1.PutSubscription",
    ".certes.v1.CreateUser",
    ".certes.v1.SetPassword",
    ".certes.v1.Change",
    ".certes.v1.internal.LogInRequest",
    ".certes.v1.internal.RenewSessionRequest",
    ".certes.v1.internal.Session",
    ".certes.v1.internal.RulesPart",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "cargo tells a build script so")]
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // What reflection shows to the public must not name the internal services.
    let public = protox::compile(PUBLIC, ["proto"])?;
    fs::write(out.join("public.bin"), public.encode_to_vec())?;
    let all = protox::compile(PUBLIC.into_iter().chain(INTERNAL), ["proto"])?;
    // Payloads are shared, not copied; maps keep one order.
    let builder = tonic_prost_build::configure().bytes(".").btree_map(".").skip_debug(SECRET);
    builder.compile_fds(all)?;
    Ok(())
}
