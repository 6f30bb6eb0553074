//! What receivers say survives the wire, and what they cannot mean is refused by its field.

use contract::pull::{Answer, Ask};
use proto::v1::{
    SubscribeRequest,
    subscribe_request::{Extend, Nack, Open, Request},
};
use std::time::Duration;

#[test]
fn all_that_receivers_say_survives() {
    let reason = "größe".to_owned();
    let delay = Some(Duration::from_millis(1500));
    let answers = [
        Answer::Ack { status: None },
        Answer::Ack { status: Some(204) },
        Answer::Nack { status: Some(599), delay, reason },
        Answer::Nack { status: None, delay: None, reason: String::new() },
    ];
    let asks = answers.into_iter().map(|answer| Ask::Answer { ticket: u64::MAX, answer });
    let by = Some(Duration::from_secs(3600));
    let others = [
        Ask::MaxInFlight(0),
        Ask::MaxInFlight(u32::MAX),
        Ask::Extend { ticket: 1, by: None },
        Ask::Extend { ticket: 1, by },
        Ask::Drain,
    ];
    for ask in asks.chain(others) {
        assert_eq!(Ask::try_from(SubscribeRequest::from(ask.clone())), Ok(ask));
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let nack = |status| Request::Nack(Nack { status, ..Nack::default() });
    let cases = [
        (None, "request"),
        (Some(Request::Open(Open::default())), "open"),
        (Some(nack(Some(99))), "status"),
        (Some(nack(Some(70_000))), "status"),
        (Some(Request::Extend(Extend { ticket: 1, by: Some(negative) })), "by"),
        (Some(Request::Nack(Nack { delay: Some(negative), ..Nack::default() })), "delay"),
    ];
    for (request, field) in cases {
        let refused = Ask::try_from(SubscribeRequest { request }).unwrap_err();
        assert_eq!(refused.field, field);
    }
}
