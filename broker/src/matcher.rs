//! Who receives an event: the subscriptions of its audience whose patterns select its type.
//!
//! Built once per version of the rules. Subscriptions are filed by owner first, so that an event
//! for one subscriber never looks at the subscriptions of the others, and by pattern then, so
//! that the cost of an event grows with its candidates and not with all subscriptions.

mod patterns;

use contract::{
    event::{Audience, Origin},
    id::{LaneId, SubscriptionNumber},
    rules::Rules,
    uri::EventUri,
};
use patterns::PatternIndex;
use std::collections::HashMap;

/// The subscriptions of one version of the rules, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    own: PatternIndex,
    by_subscriber: HashMap<String, PatternIndex>,
    all_subscribers: PatternIndex,
}

impl Matcher {
    /// Files the subscriptions of `rules`. Those that are paused are there, too: their deliveries
    /// are kept until they go on.
    pub fn new(rules: &Rules) -> Self {
        let mut matcher = Self::default();
        for (number, subscription) in &rules.subscriptions {
            let patterns = &subscription.spec.events;
            match &subscription.spec.subscriber {
                None => matcher.own.insert(patterns, *number),
                Some(id) => {
                    matcher.by_subscriber.entry(id.clone()).or_default().insert(patterns, *number);
                    matcher.all_subscribers.insert(patterns, *number);
                }
            }
        }
        matcher
    }

    /// The subscriptions that receive an event, each once however many of its patterns fit.
    pub fn receivers(&self, uri: &EventUri, audience: &Audience) -> Vec<SubscriptionNumber> {
        let index = match audience {
            Audience::Own => Some(&self.own),
            Audience::Subscriber(id) => self.by_subscriber.get(id),
            Audience::All => Some(&self.all_subscribers),
        };
        let mut numbers = Vec::new();
        if let Some(index) = index {
            index.select(uri, &mut numbers);
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The lanes into which an event goes: one for each receiver, at the priority it has there.
    pub fn lanes(
        &self,
        rules: &Rules,
        uri: &EventUri,
        audience: &Audience,
        origin: &Origin,
    ) -> Vec<LaneId> {
        let lane = |number| {
            let subscription = rules.subscriptions.get(&number)?;
            Some(LaneId::new(number, rules.priority(subscription, uri, origin)))
        };
        self.receivers(uri, audience).into_iter().filter_map(lane).collect()
    }
}
