//! A program that lost an answer asks again, and nothing happens twice.

use contract::{
    access::Roles,
    command::{Changeset, Command},
};
use proto::v1::{ExecuteRequest, configuration_client::ConfigurationClient};
use tests::{Deployment, Wiring, stories};
use tonic::{Code, Request, transport::Endpoint};

stories!(a_repeated_change_is_one_change);

const MAKE: &str = "mutation { createKey(name: \"lost\", roles: [\"producer\"], \
                    clientMutationId: \"m1\") { token key { id } } }";

async fn keys(certes: &Deployment) -> usize {
    certes.remote().await.unwrap().keys().await.unwrap().len()
}

async fn a_repeated_change_is_one_change(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let before = keys(&certes).await;
    let first = certes.graphql(MAKE).await.unwrap()["createKey"].clone();
    assert!(first["token"].is_string());
    let certes = certes.restart(wiring).await.unwrap();
    let again = certes.graphql(MAKE).await.unwrap()["createKey"].clone();
    assert_eq!((&again["key"], again["token"].is_null()), (&first["key"], true));
    assert_eq!(keys(&certes).await, before + 1);

    // The same over gRPC, by the metadata.
    let channel = Endpoint::from_shared(certes.grpc.clone()).unwrap().connect().await.unwrap();
    let execute = async |name: &str| {
        let roles = Roles::parse(["producer"]).unwrap();
        let (subscriber, expires_at) = (None, None);
        let issue = Command::IssueKey { name: name.to_owned(), roles, subscriber, expires_at };
        let changes = Changeset { commands: vec![issue], ..Changeset::default() };
        let mut request = Request::new(ExecuteRequest { changeset: Some(changes.into()) });
        let bearer = format!("Bearer {}", certes.key.expose());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        request.metadata_mut().insert("idempotency-key", "g1".parse().unwrap());
        let done = ConfigurationClient::new(channel.clone()).execute(request).await;
        done.map(|answer| answer.into_inner().changes.remove(0))
    };
    let first = execute("grpc").await.unwrap();
    let again = execute("grpc").await.unwrap();
    assert_eq!((first.id, first.revealed.is_some()), (again.id, true));
    assert_eq!(again.revealed, None);
    assert_eq!(execute("other").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(keys(&certes).await, before + 2);
    certes.stop().await.unwrap();
}
