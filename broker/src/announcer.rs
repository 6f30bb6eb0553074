//! The announcer makes the server's own events, `_certes/1/...`: it follows the log, and what an
//! operator may want to know becomes an event like any other.
//!
//! It looks at notable facts only, which the log finds by an index, and sleeps while there are
//! none. What nobody subscribes to is not stored: the fact is in the log. Each event's id follows
//! from its fact, and the log takes an id once; the durable cursor moves after the event is stored.
//! So wherever a crash comes, nothing is lost, and what is told again is stored once; also when
//! several brokers tell it.

mod news;

use crate::{AnnouncerConfig, Broker, Metrics, deadline::within};
use contract::{
    Error, ErrorCode, Result,
    delivery::{Delivery, DeliveryState},
    event::{Audience, Direction, Disposition, Event, Headers, NewEvent, Origin, Trace},
    id::{DeliveryId, Sequence, SubscriptionId, SubscriptionNumber},
    limits::PAGE_MAX,
    log::{Chain, LogFilter, LogPage, LogQuery, LoggedFact, NOTABLE_SINCE_FORMAT},
    master_api::{DeliveryFilter, MasterApi, PageRequest},
    subscription::Subscription,
    uri::EventUri,
};
use news::{Announcement, Circumstances, News};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Its name among the followers of the log.
const FOLLOWER: &str = "announcer";
/// Longest wait for news in one call.
const NEWS_WAIT: Duration = Duration::from_secs(5);
/// Pause after a failure, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tells operators what happens, by events.
pub struct Announcer {
    config: AnnouncerConfig,
    log: Arc<dyn MasterApi>,
    broker: Arc<Broker>,
    metrics: Metrics,
    progress: Mutex<Progress>,
}

/// How far the announcer has come.
#[derive(Debug, Default)]
struct Progress {
    /// Facts up to here are told; None: not known yet.
    told: Option<Sequence>,
    /// The last of them that was one of the configuration: who is told is said by rules that know
    /// it.
    rules: Sequence,
}

impl Announcer {
    /// An announcer from `log` to the door of `broker`.
    pub fn new(
        config: AnnouncerConfig,
        log: Arc<dyn MasterApi>,
        broker: Arc<Broker>,
        metrics: Metrics,
    ) -> Self {
        Self { config, log, broker, metrics, progress: Mutex::default() }
    }

    /// Announces until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        while let Some(round) = stop.run_until_cancelled(self.run_once(NEWS_WAIT)).await {
            let Err(error) = round else {
                pause = PAUSE_MIN;
                continue;
            };
            self.metrics.announcing_failed();
            tracing::warn!(%error, "what happened cannot be announced yet");
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Announces the next facts; waits up to `wait` for the first. Gives how many events it made.
    ///
    /// Errors: those of the log and the broker; the same facts are announced in the next round.
    pub async fn run_once(&self, wait: Duration) -> Result<usize> {
        let mut progress = self.progress.lock().await;
        let after = match progress.told {
            Some(told) => told,
            None => self.beginning().await?,
        };
        progress.told = Some(after);
        let filter = LogFilter { notable: true, ..LogFilter::default() };
        let page = self.ask(after, filter, wait).await?;
        let mut events = 0;
        for fact in &page.facts {
            if fact.chain == Chain::Configuration {
                progress.rules = fact.sequence;
            }
            events += usize::from(self.announce(fact, progress.rules).await?);
            progress.told = Some(fact.sequence);
        }
        if page.read_to > after {
            progress.told = Some(page.read_to);
            let moved = self.log.move_cursor(FOLLOWER, page.read_to);
            within(self.config.timeout.0, "the log", moved).await?;
        }
        self.metrics.facts_behind(page.head.0.saturating_sub(page.read_to.0));
        Ok(events)
    }

    /// Where to go on; in a log that was never followed, where notable facts begin.
    async fn beginning(&self) -> Result<Sequence> {
        let cursor = within(self.config.timeout.0, "the log", self.log.cursor(FOLLOWER)).await?;
        if let Some(cursor) = cursor {
            return Ok(cursor);
        }
        let filter = LogFilter {
            chain: Some(Chain::Configuration),
            kinds: vec!["format_raised".to_owned()],
            ..LogFilter::default()
        };
        let mut after = Sequence(0);
        loop {
            let page = self.ask(after, filter.clone(), Duration::ZERO).await?;
            let raised = |fact: &&LoggedFact| {
                let format = fact.body.get("format").and_then(serde_json::Value::as_u64);
                format.is_some_and(|format| format >= u64::from(NOTABLE_SINCE_FORMAT))
            };
            if let Some(fact) = page.facts.iter().find(raised) {
                return Ok(fact.sequence);
            }
            if !page.more {
                return Ok(page.head);
            }
            after = page.read_to;
        }
    }

    async fn ask(&self, after: Sequence, filter: LogFilter, wait: Duration) -> Result<LogPage> {
        let query = LogQuery { after, first: self.config.page_facts, filter, wait };
        let limit = self.config.timeout.0.saturating_add(wait);
        within(limit, "the log", self.log.facts(query)).await
    }

    /// Makes the event that tells of a fact to those who want it by `rules` or newer ones; false:
    /// there is none, or nobody does.
    async fn announce(&self, fact: &LoggedFact, rules: Sequence) -> Result<bool> {
        let Some(news) = news::read(fact).map_err(|error| unreadable(fact, &error))? else {
            return Ok(false);
        };
        let around = self.circumstances(fact, &news).await?;
        let Some(announcement) = news::tell(fact, &news, &around) else { return Ok(false) };
        let Announcement { name, payload } = announcement;
        let event = NewEvent {
            uri: format!("_certes/1/{name}").parse::<EventUri>()?,
            direction: Direction::Incoming,
            audience: Audience::Own,
            origin: Origin::Server,
            payload: payload.to_string().into(),
            content_type: "application/json".to_owned(),
            headers: Headers::default(),
            idempotency_key: None,
            received_at: fact.time,
            trace: Trace::default(),
            // Without its contract it waits for it; one that breaks it is kept aside to be seen.
            unvalidated: Disposition::Reject,
            invalid: Disposition::Quarantine,
            rules,
        };
        let stored = self.broker.announce(news::event_id(fact), event).await?;
        let Some(stored) = stored else { return Ok(false) };
        self.metrics.announced(name);
        tracing::info!(id = %stored.id, event = name, fact = %fact.sequence, "announced");
        Ok(true)
    }

    /// What there is to know of the things that a fact names.
    async fn circumstances(&self, fact: &LoggedFact, news: &News) -> Result<Circumstances> {
        let mut around = Circumstances::default();
        match news {
            News::Dead { delivery, .. } => {
                around.delivery = self.delivery(*delivery).await?;
                around.subscription = self.subscription(fact, delivery.lane.subscription()).await?;
            }
            News::Status { number, .. }
            | News::BreakerOpened { number, .. }
            | News::BreakerClosed { number } => {
                around.subscription = self.subscription(fact, *number).await?;
                if let Some(found) = &around.subscription {
                    around.waiting = self.waiting(found.id).await?;
                }
            }
            News::Published(_)
            | News::SchemaRemoved { .. }
            | News::Source(_)
            | News::SourceRemoved { .. }
            | News::KeyIssued(_)
            | News::KeyRevoked { .. } => {}
        }
        Ok(around)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<(Delivery, Event)>> {
        let limit = self.config.timeout.0;
        let delivery = within(limit, "the log", self.log.delivery(id)).await?;
        let Some(delivery) = delivery else { return Ok(None) };
        let event = within(limit, "the log", self.log.event(delivery.event)).await?;
        Ok(event.map(|event| (delivery, event)))
    }

    /// A subscription by rules that are no older than the fact, if it is one of the configuration.
    async fn subscription(
        &self,
        fact: &LoggedFact,
        number: SubscriptionNumber,
    ) -> Result<Option<Subscription>> {
        let mut rules = self.log.rules();
        let known =
            rules.wait_for(|rules| fact.chain == Chain::Traffic || rules.sequence >= fact.sequence);
        let late = |_| Error::new(ErrorCode::Unavailable, "the rules lag behind the log");
        let known = tokio::time::timeout(self.config.timeout.0, known).await.map_err(late)?;
        let known = known.map_err(Error::internal)?;
        Ok(known.subscriptions.get(&number).map(|found| (**found).clone()))
    }

    /// How many deliveries wait for a subscription, as far as one page goes.
    async fn waiting(&self, subscription: SubscriptionId) -> Result<u64> {
        let filter = DeliveryFilter {
            state: Some(DeliveryState::Waiting),
            subscription: Some(subscription),
            ..DeliveryFilter::default()
        };
        let page = PageRequest { first: PAGE_MAX, after: None };
        let found = self.log.deliveries(filter, page);
        let found = within(self.config.timeout.0, "the log", found).await?;
        Ok(u64::try_from(found.items.len()).unwrap_or(u64::MAX))
    }
}

fn unreadable(fact: &LoggedFact, error: &serde_json::Error) -> Error {
    Error::internal(format!("fact {} cannot be read: {error}", fact.sequence))
}
