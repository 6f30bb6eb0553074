//! `certes delivery attempts`: what went over the wire.

use crate::{output, remote::Remote};
use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    delivery::{Attempt, Delivery},
    event::Headers,
    exchange::Exchange,
    id::DeliveryId,
    limits::PAGE_MAX,
    master_api::{Page, PageRequest},
};
use serde::Serialize;

/// An attempt with what went over the wire, for machines.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    attempt: &'a Attempt,
    request_headers: Option<&'a Headers>,
    response_headers: Option<&'a Headers>,
    /// Text; None: there is none, or it is no UTF-8.
    response_body: Option<&'a str>,
    response_body_base64: Option<String>,
    response_cut: bool,
}

/// What went over the wire in all attempts of a delivery, or in one of them.
pub(super) async fn of(
    remote: &Remote,
    id: DeliveryId,
    number: Option<u32>,
) -> Result<Vec<Exchange>> {
    if let Some(number) = number {
        let after = Some(number.saturating_sub(1).to_string());
        return Ok(remote.exchanges(id, PageRequest { first: 1, after }).await?.items);
    }
    let mut page = PageRequest { first: PAGE_MAX, after: None };
    let mut all = Vec::new();
    loop {
        let Page { items, next } = remote.exchanges(id, page.clone()).await?;
        all.extend(items);
        if next.is_none() {
            return Ok(all);
        }
        page.after = next;
    }
}

/// Prints the attempts of a delivery.
pub(super) fn show(delivery: &Delivery, exchanges: &[Exchange], json: bool) -> Result<()> {
    let of = |attempt: &Attempt| exchanges.iter().find(|found| found.number == attempt.number);
    let attempts = delivery.attempts.iter();
    if json {
        let shown: Vec<_> = attempts.map(|attempt| shown(attempt, of(attempt))).collect();
        return output::json(&shown);
    }
    for attempt in attempts {
        super::show_attempt(attempt)?;
        let Some(exchange) = of(attempt) else {
            output::line("    nothing is kept of what was sent")?;
            continue;
        };
        headers(">", &exchange.request_headers)?;
        headers("<", &exchange.response_headers)?;
        if !exchange.response_body.is_empty() {
            output::line("")?;
            // An endpoint does not write to somebody's terminal.
            let text = String::from_utf8_lossy(&exchange.response_body);
            for line in text.lines() {
                let safe = |c: char| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c };
                output::line(&format!("    {}", line.chars().map(safe).collect::<String>()))?;
            }
        }
        if exchange.response_cut {
            output::line("    ... the answer had more than is kept of it")?;
        }
    }
    Ok(())
}

fn shown<'a>(attempt: &'a Attempt, exchange: Option<&'a Exchange>) -> Shown<'a> {
    let body = exchange.map(|exchange| &exchange.response_body).filter(|body| !body.is_empty());
    let text = body.and_then(|body| str::from_utf8(body).ok());
    Shown {
        attempt,
        request_headers: exchange.map(|exchange| &exchange.request_headers),
        response_headers: exchange.map(|exchange| &exchange.response_headers),
        response_body: text,
        response_body_base64: body.filter(|_| text.is_none()).map(|body| STANDARD.encode(body)),
        response_cut: exchange.is_some_and(|exchange| exchange.response_cut),
    }
}

fn headers(direction: &str, headers: &Headers) -> Result<()> {
    headers
        .0
        .iter()
        .try_for_each(|(name, value)| output::line(&format!("    {direction} {name}: {value}")))
}
