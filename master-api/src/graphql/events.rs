//! Events as queries see them.

use super::{
    access::{OrShow, Result, allowed_everywhere, master_api},
    budget::{LIST, NODE_BYTES, spend},
    nodes::DeliveryNode,
};
use async_graphql::{Context, ID, MergedObject, Object, SimpleObject};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use contract::{
    access::{Access, Noun},
    delivery::Delivery,
    event::{Audience, Event, Origin},
    retention::PayloadState,
};
use std::sync::Arc;

/// An event: what is known of it, and what hangs on it.
#[derive(Debug, MergedObject)]
#[graphql(name = "Event")]
pub(super) struct EventNode(EventSummaryNode, EventContents);

impl From<Event> for EventNode {
    fn from(event: Event) -> Self {
        let event = Arc::new(event);
        let event_of = Arc::clone(&event);
        let contents = EventContents { event: event_of, deliveries: None, payload_state: None };
        Self(EventSummaryNode(event), contents)
    }
}

impl EventNode {
    /// A page of events. If their deliveries, or what became of their payloads, are asked for, too,
    /// all are read at once.
    pub(super) async fn all(context: &Context<'_>, events: Vec<Event>) -> Result<Vec<Self>> {
        let asked = |field| context.look_ahead().field("nodes").field(field).exists();
        let ids = || events.iter().map(|event| event.id).collect();
        let api = master_api(context)?;
        // Who may not see them is told so by the field itself.
        let seen = allowed_everywhere(context, Noun::Subscriptions, Access::Read).is_ok();
        let mut deliveries = match asked("deliveries") && seen {
            true => api.deliveries_of_each(ids()).await.or_show()?.into_iter(),
            false => Vec::new().into_iter(),
        };
        let mut states = match asked("payloadState") {
            true => api.payload_states(ids()).await.or_show()?.into_iter(),
            false => Vec::new().into_iter(),
        };
        let node = |event| {
            let Self(summary, contents) = Self::from(event);
            let (deliveries, payload_state) = (deliveries.next(), states.next());
            Self(summary, EventContents { deliveries, payload_state, ..contents })
        };
        Ok(events.into_iter().map(node).collect())
    }
}

/// An event without its payload and deliveries: a delivery leads to it, and no further.
#[derive(Debug)]
pub(super) struct EventSummaryNode(pub(super) Arc<Event>);

#[Object(name = "EventSummary")]
impl EventSummaryNode {
    /// `evt_...`, also the `webhook-id` of its deliveries.
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Its type: an event URI.
    async fn r#type(&self) -> &str {
        self.0.uri.as_str()
    }
    /// `accepted` or `quarantined`.
    async fn state(&self) -> String {
        self.0.state.to_string()
    }
    /// Why it was kept aside.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
    /// `incoming` or `outgoing`.
    async fn direction(&self) -> String {
        self.0.direction.to_string()
    }
    /// Name of the source that sent it.
    async fn source(&self) -> Option<&str> {
        match &self.0.origin {
            Origin::Source(name) => Some(name),
            Origin::Producer(_) | Origin::Server => None,
        }
    }
    /// Id of the key that sent it.
    async fn producer(&self) -> Option<String> {
        match &self.0.origin {
            Origin::Producer(key) => Some(key.to_string()),
            Origin::Source(_) | Origin::Server => None,
        }
    }
    /// The subscriber it is for; `*`: all of them; null: our own subscriptions.
    async fn subscriber(&self) -> Option<&str> {
        match &self.0.audience {
            Audience::Own => None,
            Audience::Subscriber(id) => Some(id),
            Audience::All => Some("*"),
        }
    }
    /// When the gateway had it, RFC 3339.
    async fn received_at(&self) -> String {
        self.0.received_at.to_string()
    }
    /// Media type of the payload.
    async fn content_type(&self) -> &str {
        &self.0.content_type
    }
    /// Size of the payload in bytes.
    async fn size(&self) -> String {
        self.0.size.to_string()
    }
    /// Key against repeats.
    async fn idempotency_key(&self) -> Option<&str> {
        self.0.idempotency_key.as_deref()
    }
    /// Minor version of the schema it was checked against; null: unchecked.
    async fn schema_minor(&self) -> Option<u32> {
        self.0.schema_minor
    }
    /// Position of its fact in the log.
    async fn sequence(&self) -> String {
        self.0.sequence.to_string()
    }
    /// W3C trace context.
    async fn traceparent(&self) -> &str {
        &self.0.trace.traceparent
    }
    /// The parts it passed.
    async fn trail(&self) -> &[String] {
        &self.0.trace.trail
    }
    /// Kept headers.
    async fn headers(&self, context: &Context<'_>) -> Result<Vec<HeaderNode>> {
        let bytes = self.0.headers.0.iter().map(|(name, value)| name.len() + value.len());
        spend(context, bytes.sum())?;
        let header = |(name, value): &(String, String)| HeaderNode {
            name: name.clone(),
            value: value.clone(),
        };
        Ok(self.0.headers.0.iter().map(header).collect())
    }
}

/// What hangs on an event.
#[derive(Debug)]
pub(super) struct EventContents {
    event: Arc<Event>,
    /// None: not read yet.
    deliveries: Option<Vec<Delivery>>,
    /// None: not read yet.
    payload_state: Option<Option<PayloadState>>,
}

#[Object]
impl EventContents {
    /// Whether the payload is there: `present`, `expired`, `erased`.
    async fn payload_state(&self, context: &Context<'_>) -> Result<Option<&'static str>> {
        let state = match self.payload_state {
            Some(state) => state,
            None => master_api(context)?.payload_state(self.event.id).await.or_show()?,
        };
        Ok(state.map(PayloadState::as_str))
    }
    /// The payload as text; null if it is no UTF-8 or not there.
    async fn payload(&self, context: &Context<'_>) -> Result<Option<String>> {
        spend(context, usize::try_from(self.event.size).unwrap_or(usize::MAX))?;
        let payload = master_api(context)?.payload(self.event.id).await.or_show()?;
        Ok(payload.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
    }
    /// The payload in base64; null once its retention has passed.
    async fn payload_base64(&self, context: &Context<'_>) -> Result<Option<String>> {
        spend(context, usize::try_from(self.event.size).unwrap_or(usize::MAX))?;
        let payload = master_api(context)?.payload(self.event.id).await.or_show()?;
        Ok(payload.map(|bytes| STANDARD.encode(bytes)))
    }
    /// Its deliveries, one for each subscription that matched. For keys that see everybody's
    /// subscriptions.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn deliveries(&self, context: &Context<'_>) -> Result<Vec<DeliveryNode>> {
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        spend(context, self.event.lanes.len().saturating_mul(NODE_BYTES))?;
        let deliveries = match &self.deliveries {
            Some(deliveries) => deliveries.clone(),
            None if self.event.lanes.is_empty() => Vec::new(),
            None => master_api(context)?.deliveries_of(self.event.id).await.or_show()?,
        };
        let event = |delivery| DeliveryNode::of(delivery, Arc::clone(&self.event));
        Ok(deliveries.into_iter().map(event).collect())
    }
}

/// A header.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Header")]
pub(super) struct HeaderNode {
    /// In lower case.
    pub(super) name: String,
    /// Credentials are `***` and a fingerprint.
    pub(super) value: String,
}

impl From<(String, String)> for HeaderNode {
    fn from((name, value): (String, String)) -> Self {
        Self { name, value }
    }
}
