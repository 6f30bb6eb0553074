//! Who receives an event: the subscriptions of its audience whose patterns select its type and
//! whose filters want it.
//!
//! Built once per version of the rules. Subscriptions are filed by owner first, so that an event
//! for one subscriber never looks at the subscriptions of the others, by pattern then, and by what
//! their filters ask for in the end, so that the cost of an event grows with its candidates and
//! not with all subscriptions. A filter that many have is asked once.

mod compiled;
mod patterns;
mod wanted;

use compiled::Compiled;
use contract::{
    event::{Audience, NewEvent},
    id::{LaneId, SubscriptionNumber},
    rules::Rules,
    subscription::{Ordering, OrderingKey},
};
use expression::{Failure, Program, Subject, ordering_key};
use patterns::PatternIndex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use wanted::Asking;

/// The subscriptions of one version of the rules, ready to be asked.
#[derive(Debug, Default)]
pub struct Matcher {
    own: PatternIndex,
    by_subscriber: HashMap<String, PatternIndex>,
    all_subscribers: PatternIndex,
    compiled: Compiled,
    /// What gives the keys of those that keep an order by key; None: it cannot be compiled.
    keys: HashMap<SubscriptionNumber, Option<Arc<Program>>>,
}

/// Where an event goes.
#[derive(Debug, Default)]
pub struct Placed {
    /// One lane for each receiver, at the priority it has there.
    pub lanes: Vec<LaneId>,
    /// Its key where an order by key is kept.
    pub keys: BTreeMap<LaneId, OrderingKey>,
    /// Filters that could not tell, so that it goes to none of their subscriptions.
    pub failed: usize,
}

impl Matcher {
    /// Files the subscriptions of `rules`. Those that are paused are there, too: their deliveries
    /// are kept until they go on. What `before` has compiled is not compiled again.
    pub fn new(rules: &Rules, before: Option<&Self>) -> Self {
        let mut matcher = Self::default();
        let mut compiled = Compiled::after(before.map(|before| &before.compiled));
        for (number, subscription) in &rules.subscriptions {
            let spec = &subscription.spec;
            let filter = spec.filter.as_deref().map(|source| compiled.filter(source));
            let filed = (*number, filter.map(|id| (id, compiled.get(id))));
            match &spec.subscriber {
                None => matcher.own.insert(&spec.events, filed),
                Some(id) => {
                    let index = matcher.by_subscriber.entry(id.clone()).or_default();
                    index.insert(&spec.events, filed);
                    matcher.all_subscribers.insert(&spec.events, filed);
                }
            }
            if let Ordering::Key(source) = &spec.ordering {
                matcher.keys.insert(*number, compiled.key(source));
            }
        }
        compiled.forget_before();
        matcher.compiled = compiled;
        matcher
    }

    /// The subscriptions that receive an event, each once however many of its patterns fit.
    pub fn receivers(&self, event: &NewEvent) -> Vec<SubscriptionNumber> {
        self.ask(event, &Subject::new(event)).0
    }

    /// The lanes into which an event goes.
    pub fn place(&self, rules: &Rules, event: &NewEvent) -> Placed {
        let subject = Subject::new(event);
        let (numbers, failed) = self.ask(event, &subject);
        let mut placed = Placed { failed, ..Placed::default() };
        for number in numbers {
            let Some(subscription) = rules.subscriptions.get(&number) else { continue };
            let priority = rules.priority(subscription, &event.uri, &event.origin);
            let lane = LaneId::new(number, priority);
            placed.lanes.push(lane);
            if let Some(key) = self.key(number, &subject) {
                placed.keys.insert(lane, key);
            }
        }
        placed
    }

    /// The key that a delivery of this event has in the lane of `number`; None: it needs none.
    fn key(&self, number: SubscriptionNumber, subject: &Subject<'_>) -> Option<OrderingKey> {
        let program = self.keys.get(&number)?.as_ref();
        let unusable = || Err(Failure::Error("it cannot be compiled".to_owned()));
        Some(ordering_key(&program.map_or_else(unusable, |program| program.evaluate(subject))))
    }

    /// The receivers in order, and how many filters could not tell.
    fn ask(&self, event: &NewEvent, subject: &Subject<'_>) -> (Vec<SubscriptionNumber>, usize) {
        let index = match &event.audience {
            Audience::Own => Some(&self.own),
            Audience::Subscriber(id) => self.by_subscriber.get(id),
            Audience::All => Some(&self.all_subscribers),
        };
        let mut asking = Asking::new(&self.compiled, subject);
        if let Some(index) = index {
            index.select(&event.uri, &mut |wanted| asking.ask(wanted));
        }
        asking.answer()
    }
}
