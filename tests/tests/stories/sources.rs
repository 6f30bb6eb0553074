//! Webhooks of every third party that the command line can play.

use certes::{
    cli::ServerArgs,
    commands::send::{SendArgs, run},
};
use contract::{
    secret::Secret,
    source::{Scheme, SecretForm},
};
use serde_json::json;
use tests::{Deployment, Subscriber, Wiring, post, stories};

stories!(every_third_party_is_let_in_and_nobody_else);

/// A secret that fits; None: the source can only verify.
fn secret(scheme: Scheme) -> Option<String> {
    if scheme == Scheme::MicrosoftGraph {
        // It shows its state in the body, which is ours to write.
        return None;
    }
    match scheme.facts().secret {
        SecretForm::Nothing | SecretForm::Ed25519 | SecretForm::P256 => None,
        SecretForm::Text => Some("hush".to_owned()),
        SecretForm::Token | SecretForm::StandardWebhooks => {
            Some(Secret::webhook(&[7; 24]).expose().to_owned())
        }
        SecretForm::UserPassword | SecretForm::TokenAndSecret => Some("a:b".to_owned()),
    }
}

async fn every_third_party_is_let_in_and_nobody_else(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let subscriber = Subscriber::start().await.unwrap();
    let players: Vec<_> =
        Scheme::ALL.iter().filter_map(|scheme| Some((*scheme, secret(*scheme)?))).collect();
    let source = |(scheme, secret): &(Scheme, String)| {
        format!(
            "  - {{name: {scheme}, verify: {scheme}, secret: \"{secret}\", event_type: \
             \"shop/1/{scheme}\", unvalidated: accept, public_url: \
             \"https://in.example.com/events/{scheme}\"}}\n"
        )
    };
    let sources: String = players.iter().map(source).collect();
    let manifest = format!(
        "sources:\n{sources}subscriptions: [{{name: all, url: \"{}\", events: [\"shop/1/*\"]}}]",
        subscriber.url()
    );
    certes.apply(&manifest).await.unwrap();

    let file = certes.dir().join("body.json");
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    std::fs::write(&file, format!("{{\"id\": \"1\", \"webhookTimestamp\": {now_ms}}}")).unwrap();
    for (scheme, secret) in &players {
        let name = scheme.as_str();
        let send = |secret: &str| SendArgs {
            source: name.to_owned(),
            event: "paid".to_owned(),
            file: file.clone(),
            verify: None,
            public_url: None,
            content_type: "application/json".to_owned(),
            secret_file: None,
            secret: Some(secret.to_owned()),
            id: None,
            server: ServerArgs {
                server: Some(certes.http.clone()),
                key_file: None,
                key: Some(certes.key.expose().to_owned()),
                json: false,
            },
        };
        run(send(secret)).await.map_err(|error| format!("{scheme}: {error:#}")).unwrap();
        run(send(&format!("{}x", &secret[..secret.len() - 1]))).await.unwrap_err();
        let url = format!("{}/events/{name}", certes.http);
        let bare = post(&url, &[("content-type", "application/json")], "{}").await.unwrap();
        assert_eq!(bare.status, 401, "{scheme}");
        assert_eq!(bare.json()["code"], "invalid_signature");
    }
    subscriber.wait_for(players.len()).await;
    let stats = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(stats["stats"], json!({"accepted": players.len(), "quarantined": 0}));
}
