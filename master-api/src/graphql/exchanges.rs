//! What went over the wire in an attempt: read at once for all attempts of a delivery that follow
//! each other and fit a page.

use super::{
    access::{OrShow, Result, master_api},
    budget::spend,
    events::HeaderNode,
};
use async_graphql::{Context, Object};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    event::Headers,
    exchange::Exchange,
    id::DeliveryId,
    limits::PAGE_MAX,
    master_api::{Page, PageRequest},
};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The exchanges of a delivery, as soon as one of its attempts is asked for its own.
#[derive(Debug, Clone)]
pub(super) struct Exchanges {
    delivery: DeliveryId,
    read: Arc<Mutex<Read>>,
}

/// The page that was read last: all of the attempts after one, up to another.
#[derive(Debug, Default)]
struct Read {
    after: u32,
    to: u32,
    exchanges: Vec<Exchange>,
}

impl Exchanges {
    /// Of a delivery; nothing is read yet.
    pub(super) fn of(delivery: DeliveryId) -> Self {
        Self { delivery, read: Arc::default() }
    }

    /// That of one attempt.
    pub(super) async fn of_attempt(
        &self,
        context: &Context<'_>,
        number: u32,
    ) -> Result<Option<ExchangeNode>> {
        let mut read = self.read.lock().await;
        if number <= read.after || number > read.to {
            let after = number.saturating_sub(1);
            let page = PageRequest { first: PAGE_MAX, after: Some(after.to_string()) };
            let Page { items, next } =
                master_api(context)?.exchanges(self.delivery, page).await.or_show()?;
            let last = items.last().map_or(u32::MAX, |exchange| exchange.number);
            let to = if next.is_some() { last } else { u32::MAX };
            *read = Read { after, to, exchanges: items };
        }
        let found = read.exchanges.iter().find(|exchange| exchange.number == number);
        Ok(found.cloned().map(ExchangeNode))
    }
}

/// What went over the wire in an attempt.
#[derive(Debug)]
pub(super) struct ExchangeNode(Exchange);

#[Object(name = "Exchange")]
impl ExchangeNode {
    /// Headers as sent.
    async fn request_headers(&self, context: &Context<'_>) -> Result<Vec<HeaderNode>> {
        headers(context, &self.0.request_headers)
    }
    /// Headers of the answer; empty if there was none.
    async fn response_headers(&self, context: &Context<'_>) -> Result<Vec<HeaderNode>> {
        headers(context, &self.0.response_headers)
    }
    /// Body of the answer as text; what is no UTF-8 is replaced.
    async fn response_body(&self, context: &Context<'_>) -> Result<String> {
        spend(context, self.0.response_body.len())?;
        Ok(String::from_utf8_lossy(&self.0.response_body).into_owned())
    }
    /// Body of the answer, byte for byte.
    async fn response_body_base64(&self, context: &Context<'_>) -> Result<String> {
        spend(context, self.0.response_body.len().saturating_mul(2))?;
        Ok(STANDARD.encode(&self.0.response_body))
    }
    /// The answer had more than is kept of it.
    async fn response_cut(&self) -> bool {
        self.0.response_cut
    }
}

fn headers(context: &Context<'_>, headers: &Headers) -> Result<Vec<HeaderNode>> {
    spend(context, headers.0.iter().map(|(name, value)| name.len() + value.len()).sum())?;
    let pairs = headers.0.iter().cloned();
    Ok(pairs.map(|(name, value)| HeaderNode { name, value }).collect())
}
