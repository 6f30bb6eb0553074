//! Two deployments: one uses the contracts of the other, as names are resolved.

use super::hot_swap::{order, send};
use bytes::Bytes;
use certes::config::Config;
use contract::secret::Secret;
use http::Request;
use tests::{Answer, Deployment, Subscriber, Wiring, call, stories};

stories!(contracts_are_given_out, the_contract_of_another_deployment_holds);

async fn schema(certes: &Deployment, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("{}/api/schema/{uri}", certes.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    call(request.body(Bytes::new()).unwrap()).await.unwrap()
}

async fn contracts_are_given_out(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let published = certes.remote().await.unwrap().publish(order("shop/1/order", 0)).await.unwrap();
    let digest = hex::encode(published.version.digest);
    let key = format!("Bearer {}", certes.key.expose());
    let key = ("authorization", key.as_str());

    assert_eq!(schema(&certes, "shop/1/order", &[]).await.status, 401);
    let json = schema(&certes, "shop/1/order", &[key]).await;
    assert_eq!(json.status, 200, "{:?}", json.body);
    let tag = json.headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag, format!("\"{digest}\""));
    let json = json.json();
    assert_eq!(json["version"]["digest"], digest);
    assert_eq!(json["version"]["message"], "Order");
    assert_eq!(json["files"][0]["path"], "order.proto");
    let known = schema(&certes, "shop/1/order", &[key, ("if-none-match", &tag)]).await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    let wanted = [key, ("accept", "application/octet-stream")];
    let bytes = schema(&certes, "shop/1/order", &wanted).await;
    assert_eq!(bytes.headers["content-type"], "application/octet-stream");
    assert!(bytes.body.windows(11).any(|window| window == b"order.proto"));
    assert_eq!(schema(&certes, "shop/1/nothing", &[key]).await.status, 404);
    assert_eq!(schema(&certes, "peer.example/shop/1/order", &[key]).await.status, 404);
    assert_eq!(schema(&certes, "nonsense", &[key]).await.status, 400);
    certes.stop().await.unwrap();
}

/// With this deployment among those whose contracts may be used.
fn listing(peer: &Deployment) -> impl Fn(&mut Config) + use<> {
    let (address, key) = (peer.http.clone(), peer.key.expose().to_owned());
    move |config: &mut Config| {
        let mut entry = schema_peer(&address);
        entry.key = Some(Secret::new(key.clone()));
        config.schema_registry.peers.insert("peer.example".into(), entry);
        config.schema_registry.foreign.allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    }
}

fn minor(n: usize) -> String {
    format!("{{\"f{n}\": \"x\"}}")
}

/// The peer says that it has published something.
async fn tell(certes: &Deployment) {
    let headers = [("content-type", "application/json")];
    let told = tests::post(&format!("{}/events/peer", certes.http), &headers, "{}").await.unwrap();
    assert_eq!(told.status, 202, "{:?}", told.body);
}

const TELLING: &str = "sources: [{name: peer, verify: none, unvalidated: accept, \
                       event_type: \"peer.example/_certes/1/schema_published\"}]\n";

async fn the_contract_of_another_deployment_holds(wiring: Wiring) {
    let peer = Deployment::start(Wiring::OneProcess).await.unwrap();
    let publisher = peer.remote().await.unwrap();
    publisher.publish(order("shop/1/order", 0)).await.unwrap();
    let listed = listing(&peer);
    let certes = Deployment::configured(wiring, &listed).await.unwrap();
    let subscriber = Subscriber::start().await.unwrap();
    let manifest = format!(
        "{TELLING}subscriptions: [{{name: all, url: \"{}\", events: [\"peer.example/shop/1/*\"]}}]",
        subscriber.url()
    );
    certes.apply(&manifest).await.unwrap();
    let door = (certes.http.as_str(), certes.key.expose());
    let foreign = "peer.example/shop/1/order";

    assert_eq!(send(door, foreign, minor(0)).await.status, 202);
    let refused = send(door, foreign, "{\"f0\": 7}".into()).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (422, &"contract_violation".into())
    );
    for unknown in ["peer.example/shop/1/nothing", "other.example/shop/1/order"] {
        assert_eq!(send(door, unknown, minor(0)).await.status, 404, "{unknown}");
    }

    // The contract is held until the other side says that there is a new one.
    publisher.publish(order("shop/1/order", 1)).await.unwrap();
    assert_eq!(send(door, foreign, minor(1)).await.status, 422);
    tell(&certes).await;
    assert_eq!(send(door, foreign, minor(1)).await.status, 202);

    // Who has a contract goes on with it while the other side is away.
    peer.stop().await.unwrap();
    assert_eq!(send(door, foreign, minor(1)).await.status, 202);
    assert_eq!(send(door, foreign, "{\"f0\": 7}".into()).await.status, 422);
    let absent = send(door, "peer.example/shop/1/later", minor(0)).await;
    assert_eq!(absent.status, 503, "nobody knows whether there is such a type");
    // After a restart, too: it lies in the schema store.
    let certes = certes.restart_configured(wiring, &listed).await.unwrap();
    let door = (certes.http.as_str(), certes.key.expose());
    assert_eq!(send(door, foreign, minor(1)).await.status, 202);
    let received = subscriber.wait_for(4).await;
    assert_eq!(received[0].header("certes-event-type"), foreign);
    certes.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broker_hears_what_one_was_told() {
    let peer = Deployment::start(Wiring::OneProcess).await.unwrap();
    let publisher = peer.remote().await.unwrap();
    publisher.publish(order("shop/1/order", 0)).await.unwrap();
    let mut certes = Deployment::configured(Wiring::Split, listing(&peer)).await.unwrap();
    certes.apply(TELLING).await.unwrap();
    let (first, second) = (certes.http.clone(), certes.second_door().await.unwrap());
    let foreign = "peer.example/shop/1/order";
    let key = certes.key.expose().to_owned();
    let status = async |http: &str, body| send((http, &key), foreign, body).await.status.as_u16();
    for http in [&first, &second] {
        assert_eq!(status(http, minor(0)).await, 202);
        assert_eq!(status(http, minor(1)).await, 422, "asked for, and held from now on");
    }
    publisher.publish(order("shop/1/order", 1)).await.unwrap();
    assert_eq!(status(&second, minor(1)).await, 422);
    tell(&certes).await;
    let told = std::time::Instant::now();
    assert_eq!(status(&first, minor(1)).await, 202, "this one was told");
    tests::eventually("the other broker has heard of it", async || {
        (status(&second, minor(1)).await == 202).then_some(())
    })
    .await;
    assert!(told.elapsed() < std::time::Duration::from_secs(3), "{:?}", told.elapsed());
    certes.stop().await.unwrap();
    peer.stop().await.unwrap();
}

fn schema_peer(address: &str) -> certes::config::SchemaPeer {
    certes::config::SchemaPeer { address: Some(address.to_owned()), ..Default::default() }
}
