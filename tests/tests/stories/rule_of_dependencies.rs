//! Components depend on `contract` and libraries, never on each other.

use cargo_metadata::MetadataCommand;
use std::collections::BTreeSet;

/// Who may see whom of our own crates.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("contract", &[]),
    ("proto", &["contract"]),
    ("gateway", &["contract"]),
    ("broker", &["contract", "expression"]),
    // A library: whoever connects to addresses that others have named does it through this.
    ("egress", &[]),
    // A library: what subscriptions say of events, with one bound on its cost.
    ("expression", &["contract"]),
    // A library: who calls is found out in the same way at every door.
    ("identity", &["contract", "egress"]),
    ("schema-registry", &["contract", "egress", "expression"]),
    // A client certificate is judged by the code that shows it.
    ("master-api", &["contract", "egress", "expression", "identity"]),
    ("queue", &["contract"]),
    ("consumer", &["contract", "egress", "expression"]),
    (
        "certes",
        &[
            "contract",
            "proto",
            "gateway",
            "broker",
            "schema-registry",
            "expression",
            "identity",
            "master-api",
            "queue",
            "consumer",
        ],
    ),
    ("tests", &["contract", "proto", "schema-registry", "master-api", "queue", "certes", "xtask"]),
    ("xtask", &[]),
];

#[test]
fn crates_see_only_what_they_may() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let ours: BTreeSet<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let known: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(ours, known, "a new crate needs a line in the table");
    for package in &metadata.packages {
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| package.name == *name).unwrap();
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let own = ours.contains(name) && name != package.name.as_str();
            assert!(!own || allowed.contains(&name), "{} depends on {name}", package.name);
        }
    }
}

#[test]
fn the_contract_knows_no_network_and_no_storage() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let contract = metadata.packages.iter().find(|p| p.name == "contract").unwrap();
    for banned in ["hyper", "axum", "tonic", "fjall", "prost", "http"] {
        assert!(contract.dependencies.iter().all(|d| d.name != banned), "contract uses {banned}");
    }
    let tonic: Vec<_> = metadata
        .packages
        .iter()
        .filter(|p| p.dependencies.iter().any(|d| d.name == "tonic"))
        .map(|p| p.name.to_string())
        .collect();
    assert!(
        tonic.iter().all(|name| ["proto", "certes", "tests"].contains(&name.as_str())),
        "{tonic:?}"
    );
}
