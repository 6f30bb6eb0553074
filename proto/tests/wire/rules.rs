//! The rules over the wire: whole, fresh, and there before a change is answered.

use crate::{
    fake::Fake,
    listen::{PATIENCE, listen_at, master_api, peers},
    samples,
};
use contract::{
    ErrorCode, id::Sequence, master_api::Configuration, rules::Rules, subscription::Subscriber,
};
use proto::{client::RemoteMasterApi, config::ClientConfig, server};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

fn text(rules: &Rules) -> String {
    serde_json::to_string(rules).unwrap()
}

#[tokio::test]
async fn they_arrive_whole_and_stay_fresh() {
    let fake = Fake::new();
    let listener = master_api(&fake).await;
    let api = listener.master_api().await;
    let mut rules = api.rules();
    assert_eq!(text(&rules.borrow_and_update()), text(&samples::rules(1)));

    // Larger than one piece, and larger than one message.
    let mut many = samples::rules(2);
    for number in 0..34 {
        let (id, name) = (format!("org_{number}"), "x".repeat(1_000_000));
        many.subscribers.insert(id.clone(), Arc::new(Subscriber { id, name }));
    }
    fake.rules.send_replace(Arc::new(many.clone()));
    timeout(PATIENCE, rules.changed()).await.unwrap().unwrap();
    assert_eq!(rules.borrow().subscribers, many.subscribers);
    assert_eq!(rules.borrow().sequence, Sequence(2));
}

#[tokio::test]
async fn a_change_is_answered_when_it_is_here() {
    let fake = Fake::new();
    let listener = master_api(&fake).await;
    let api = listener.master_api().await;
    for (at, actor) in samples::actors().into_iter().enumerate() {
        let changes = api.execute(actor.clone(), samples::changeset()).await.unwrap();
        assert_eq!(changes, samples::changes());
        assert_eq!(api.rules().borrow().sequence, Sequence(at as u64 + 2));
        assert_eq!(fake.executed.lock().unwrap().pop(), Some((actor, samples::changeset())));
    }
}

#[tokio::test]
async fn they_come_again_from_a_master_api_that_was_away() {
    let fake = Fake::new();
    let first = master_api(&fake).await;
    let stop = CancellationToken::new();
    let api = RemoteMasterApi::connect(first.peers(), PATIENCE, stop.clone()).await.unwrap();
    let mut rules = api.rules();
    rules.mark_unchanged();
    let address = first.address;
    first.stop.cancel();
    timeout(PATIENCE, first.done).await.expect("an open stream of rules must not hold it").unwrap();

    fake.rules.send_replace(Arc::new(samples::rules(9)));
    let again = CancellationToken::new();
    let routes = server::master_api_routes(fake.clone(), again.clone());
    let _second = listen_at(address, routes, again).await;
    timeout(PATIENCE, rules.changed()).await.unwrap().unwrap();
    assert_eq!(rules.borrow().sequence, Sequence(9));

    // Once stopped, nobody keeps them fresh.
    stop.cancel();
    assert!(timeout(PATIENCE, rules.changed()).await.unwrap().is_err());
}

#[tokio::test]
async fn without_a_master_api_there_is_an_error_and_no_endless_wait() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let peers = peers(&[nobody], ClientConfig::default());
    let patience = Duration::from_millis(100);
    let refused = RemoteMasterApi::connect(peers, patience, CancellationToken::new()).await;
    assert_eq!(refused.err().unwrap().code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_change_by_nobody_is_refused() {
    use proto::v1::internal::{ExecuteRequest, rules_client::RulesClient};
    let fake = Fake::new();
    let listener = master_api(&fake).await;
    let mut client = RulesClient::new(listener.peers().channel());
    let request = ExecuteRequest { changeset: Some(samples::changeset().into()) };
    let status = client.execute(request).await.unwrap_err();
    let error = proto::status::error(&status);
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    assert!(error.message.contains("certes-actor"), "{}", error.message);
    assert!(fake.executed.lock().unwrap().is_empty());
}
