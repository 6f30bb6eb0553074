//! What went over the wire in each attempt can be seen, as long as the payload can.

use super::main_path::manifest;
use contract::{
    id::{DeliveryId, EventId},
    master_api::PageRequest,
    retention::ErasureTarget,
};
use http::StatusCode;
use serde_json::Value;
use tests::{Deployment, Subscriber, Wiring, eventually, github, stories};

stories!(attempts_show_what_was_sent_and_answered,);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const QUICK: &str = ", backoff: {kind: constant, base: 20ms, jitter: none, max_retries: 10}";
const EXCHANGE: &str = "exchange { requestHeaders { name value } responseHeaders { name value } \
                        responseBody responseBodyBase64 responseCut }";

async fn attempts_show_what_was_sent_and_answered(wiring: Wiring) {
    let answer = |n| if n == 0 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(answer).await.unwrap();
    let certes = Deployment::configured(wiring, |config| config.consumer.response_kept_bytes = 4)
        .await
        .unwrap();
    certes.apply(&manifest(&subscriber.url(), QUICK)).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();
    let received = subscriber.wait_for(2).await;
    let delivery = eventually("both attempts are recorded", async || {
        let found = delivery(&certes, &event).await?;
        (found["state"] == "delivered").then_some(found)
    })
    .await;

    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    for (attempt, received) in attempts.iter().zip(&received) {
        let exchange = &attempt["exchange"];
        let sent = pairs(&exchange["requestHeaders"]);
        assert_eq!(sent.len(), received.headers.len());
        for (name, value) in &sent {
            let mut got = received.headers.get_all(name.as_str()).iter();
            assert!(got.any(|got| got == value.as_str()), "{name}");
        }
        let answered = pairs(&exchange["responseHeaders"]);
        let cookie = answered.iter().find(|(name, _)| name == "set-cookie").unwrap();
        assert!(cookie.1.starts_with("*** ") && !cookie.1.contains("subscriber"), "{cookie:?}");
        assert_eq!(
            (&exchange["responseBody"], &exchange["responseCut"]),
            (&"answ".into(), &true.into())
        );
        assert_eq!(exchange["responseBodyBase64"], "YW5zdw==");
    }

    // The same over gRPC; and nothing of it once the event is erased.
    let remote = certes.remote().await.unwrap();
    let id: DeliveryId = delivery["id"].as_str().unwrap().parse().unwrap();
    let mut numbers = Vec::new();
    let mut page = PageRequest { first: 1, after: None };
    loop {
        let found = remote.exchanges(id, page.clone()).await.unwrap();
        numbers.extend(found.items.iter().map(|exchange| exchange.number));
        if let Some(second) = found.items.iter().find(|exchange| exchange.number == 2) {
            assert_eq!(&second.response_body[..], b"answ");
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(numbers, [1, 2]);
    let target = ErasureTarget::Event(event.parse::<EventId>().unwrap());
    remote.erase(target).await.unwrap();
    let page = PageRequest { first: 1, after: None };
    assert_eq!(remote.exchanges(id, page).await.unwrap().items, []);
    let erased = self::delivery(&certes, &event).await.unwrap();
    assert_eq!(erased["attempts"][1]["status"], 200, "that it was attempted stays");
    assert!(erased["attempts"][1]["exchange"].is_null());
    certes.stop().await.unwrap();
}

async fn delivery(certes: &Deployment, event: &str) -> Option<Value> {
    let query = format!(
        "{{ event(id: \"{event}\") {{ deliveries {{ id state \
         attempts {{ number status {EXCHANGE} }} }} }} }}"
    );
    let data = certes.graphql(&query).await.ok()?;
    Some(data["event"]["deliveries"][0].clone())
}

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let headers = headers.as_array().unwrap().iter();
    headers.map(|header| (text(&header["name"]), text(&header["value"]))).collect()
}
