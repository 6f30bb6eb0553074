//! What operators set takes effect while the consumer runs.

use crate::{
    receiver::{Receiver, raw},
    world::{World, constant, open_config, spec},
};
use consumer::Config;
use contract::{
    backoff::Span,
    clock::Clock,
    delivery::Cause,
    queue::Settlement,
    setting::{DELIVERY_PAUSED, DELIVERY_TIMEOUT, Setting, SettingValue},
    subscription::SubscriptionSpec,
};
use std::{sync::Arc, time::Duration};

fn set(world: &World, key: &str, value: Option<SettingValue>) {
    world.master.rules.send_modify(|rules| {
        let setting = Setting { value, version: 1, changed_at: world.clock.now() };
        Arc::make_mut(rules).settings.0.insert(key.to_owned(), setting);
    });
}

/// Lets the consumer do whatever it can do without waiting.
async fn let_it_run() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn fetched(world: &World) -> usize {
    world.master.state.lock().unwrap().fetched.len()
}

#[tokio::test]
async fn while_deliveries_are_paused_none_is_leased() {
    let receiver = Receiver::answering(200).await;
    let mut world = World::still(spec(&receiver.url(), constant("1s", 3)), open_config());
    set(&world, DELIVERY_PAUSED, Some(SettingValue::Bool(true)));
    world.add([1]).await;
    world.start();
    let_it_run().await;
    assert_eq!(fetched(&world), 0);
    set(&world, DELIVERY_PAUSED, None);
    let_it_run().await;
    assert_eq!(fetched(&world), 1, "so long it takes when nothing is in the way");
    receiver.until_received(1).await;
}

#[tokio::test]
async fn what_was_leased_when_deliveries_were_paused_goes_back() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    let_it_run().await;
    // By now it waits for a lease, and gets one under the pause.
    set(&world, DELIVERY_PAUSED, Some(SettingValue::Bool(true)));
    world.add([1]).await;
    assert_eq!(world.settlement(1).await, Settlement::Nack(world.clock.now()));
    assert_eq!(fetched(&world), 0);
}

#[tokio::test]
async fn the_time_limit_of_an_attempt_is_the_one_that_was_set() {
    let address = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let spec = spec(&format!("http://{address}/"), constant("10s", 3));
    let config = Config { timeout: Span(Duration::from_secs(60)), ..open_config() };
    let world = World::new(SubscriptionSpec { timeout_ms: None, ..spec }, config);
    let second = SettingValue::Duration(Span(Duration::from_secs(1)));
    set(&world, DELIVERY_TIMEOUT, Some(second));
    let (attempt, _settlement) = world.attempt_one().await;
    assert_eq!(attempt.cause, Some(Cause::Timeout));
    assert!((1000..5000).contains(&attempt.duration_ms), "{} ms", attempt.duration_ms);
}
