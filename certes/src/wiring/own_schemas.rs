//! The contracts of the server's own events ship with it, and nobody else publishes them.

use contract::{
    access::Actor,
    registry::SchemaRegistry,
    schema::{ProtoFile, SchemaSource, UnknownFields},
    uri::EventUri,
};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../schemas"]
#[include = "_certes/*"]
struct Own;

/// Publishes them, each if it differs from what is in force. A newer server may have published a
/// newer version, which an older one leaves alone: it is compared like any other.
pub(super) async fn publish(registry: &dyn SchemaRegistry) {
    for source in sources() {
        let (uri, actor) = (source.uri.clone(), Actor::Component("schema-registry".to_owned()));
        if let Err(error) = registry.publish(actor, source).await {
            tracing::warn!(%uri, %error, "cannot publish a schema of the server's own");
        }
    }
}

/// Each is one file, as it lies in the repository.
fn sources() -> Vec<SchemaSource> {
    Own::iter().filter_map(|path| source(&path)).collect()
}

fn source(path: &str) -> Option<SchemaSource> {
    let stem = path.strip_suffix(".proto")?;
    let text = |path: &str| Some(String::from_utf8_lossy(&Own::get(path)?.data).into_owned());
    Some(SchemaSource {
        uri: stem.parse::<EventUri>().ok()?,
        entry: path.to_owned(),
        files: vec![ProtoFile { path: path.to_owned(), text: text(path)? }],
        message: None,
        unknown_fields: Some(UnknownFields::Ignore),
        rulebook: None,
        next_major: false,
        example: text(&format!("{stem}.example.json")),
        expected: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_what_the_directory_holds() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/_certes");
        let mut loaded =
            schema_registry::load(dir.as_ref(), &schema_registry::Config::default()).unwrap();
        // However the server is configured, its own events may grow.
        loaded.iter_mut().for_each(|s| s.unknown_fields = Some(UnknownFields::Ignore));
        let mut own = sources();
        loaded.sort_by(|a, b| a.uri.cmp(&b.uri));
        own.sort_by(|a, b| a.uri.cmp(&b.uri));
        assert!(!own.is_empty());
        assert_eq!(own, loaded);
    }
}
