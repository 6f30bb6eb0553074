//! The schedule against a naive model: a list that is searched from end to end. Whatever happens
//! in whatever order, nothing is lost, nothing is leased twice, caps and windows hold, and the
//! order is that of the promise.

use super::{Counts, LEVELS, Schedule, line::Order};
use crate::Config;
use contract::{
    backoff::Span,
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, Lease, Settlement, Vacancy},
    rules::Rules,
    subscription::{Ordering, OrderingKey, Priority, SubscriptionSpec, SubscriptionStatus},
    testing::{rules_with, subscription_spec},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

const WINDOW: usize = 6;
const LEASE_US: i64 = 50;
const HOLD_US: i64 = 100;
const SUBSCRIPTIONS: u32 = 4;
const REPLAYED: u8 = 6;

#[derive(Debug, Clone)]
enum Step {
    /// `priority` [`REPLAYED`]: behind all of them.
    Enqueue {
        subscription: u32,
        priority: u8,
        sequence: u64,
        delay_us: i64,
    },
    Start,
    Ack {
        pick: usize,
    },
    Nack {
        pick: usize,
        delay_us: i64,
    },
    Extend {
        pick: usize,
    },
    Advance {
        us: i64,
    },
    Configure {
        subscription: u32,
        terms: Terms,
    },
}

#[derive(Debug, Clone, Copy)]
struct Terms {
    exists: bool,
    active: bool,
    priority: Option<u8>,
    cap: u32,
    order: Order,
}

const PLAIN: Terms =
    Terms { exists: true, active: true, priority: None, cap: 2, order: Order::None };

/// The key that a delivery is put in with.
fn given_key(sequence: u64) -> Option<OrderingKey> {
    (!sequence.is_multiple_of(5)).then_some(OrderingKey(sequence % 3))
}

/// Those with the same one stand in one line.
fn line_of(order: Order, sequence: u64, key: Option<OrderingKey>) -> u64 {
    match (order, key) {
        (Order::Strict, _) => 0,
        (Order::Key, Some(key)) => key.0,
        (Order::Key | Order::None, _) => 1_000 + sequence,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let enqueue = (1..=SUBSCRIPTIONS, 3_u8..7, 1_u64..30, prop_oneof![Just(0), 0..130_i64])
        .prop_map(|(subscription, priority, sequence, delay_us)| Step::Enqueue {
            subscription,
            priority,
            sequence,
            delay_us,
        });
    let order = prop_oneof![Just(Order::None), Just(Order::Strict), Just(Order::Key)];
    let terms =
        (prop::bool::weighted(0.8), any::<bool>(), prop::option::of(0_u8..10), 1_u32..4, order)
            .prop_map(|(exists, active, priority, cap, order)| Terms {
                exists,
                active,
                priority,
                cap,
                order,
            });
    prop_oneof![
        8 => enqueue,
        8 => Just(Step::Start),
        3 => any::<usize>().prop_map(|pick| Step::Ack { pick }),
        3 => (any::<usize>(), 0..130_i64).prop_map(|(pick, delay_us)| Step::Nack { pick, delay_us }),
        1 => any::<usize>().prop_map(|pick| Step::Extend { pick }),
        3 => (0..40_i64).prop_map(|us| Step::Advance { us }),
        1 => (1..=SUBSCRIPTIONS, terms)
            .prop_map(|(subscription, terms)| Step::Configure { subscription, terms }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    Waiting,
    /// `stray`: it started under another order, and nobody waits for it.
    Leased {
        token: u64,
        deadline: Timestamp,
        stray: bool,
    },
}

#[derive(Debug)]
struct Model {
    now: Timestamp,
    held: BTreeMap<DeliveryId, (Timestamp, Stand)>,
    /// In which line of its lane each stands, where an order is kept.
    lines: BTreeMap<DeliveryId, u64>,
    terms: BTreeMap<u32, Terms>,
    /// Every lease ever given, so that old ones are tried, too.
    leases: Vec<Lease>,
    /// Lanes that are to be told of room.
    turned_away: BTreeSet<LaneId>,
}

impl Model {
    fn terms(&self, lane: LaneId) -> Terms {
        self.terms[&lane.subscription().0]
    }

    fn level(&self, lane: LaneId) -> u8 {
        match lane.is_behind() {
            true => 0,
            false => 1 + self.terms(lane).priority.unwrap_or_else(|| lane.priority().into()),
        }
    }

    /// Is it the one of its line that may go?
    fn is_first(&self, id: DeliveryId) -> bool {
        if self.terms(id.lane).order == Order::None {
            return true;
        }
        let line = self.held.iter().filter(|(other, (_, stand))| {
            other.lane == id.lane
                && self.lines.get(other) == self.lines.get(&id)
                && !matches!(stand, Stand::Leased { stray: true, .. })
        });
        let mut line = line.map(|(other, (_, stand))| (*other, *stand == Stand::Waiting));
        let first = line.next();
        first == Some((id, true)) && line.all(|(_, is_waiting)| is_waiting)
    }

    fn in_flight(&self, subscription: SubscriptionNumber) -> usize {
        let leased = |(id, (_, stand)): &(&DeliveryId, &(Timestamp, Stand))| {
            id.lane.subscription() == subscription && *stand != Stand::Waiting
        };
        self.held.iter().filter(leased).count()
    }

    /// Those that the next start may choose from: the oldest of each subscription with the
    /// highest priority.
    fn choices(&self) -> Vec<DeliveryId> {
        let may_start = self.held.iter().filter(|(id, (due, stand))| {
            let terms = self.terms(id.lane);
            *stand == Stand::Waiting
                && *due <= self.now
                && terms.active
                && self.is_first(**id)
                && self.in_flight(id.lane.subscription()) < terms.cap as usize
        });
        let eligible: Vec<_> = may_start.collect();
        let Some(highest) = eligible.iter().map(|(id, _)| self.level(id.lane)).max() else {
            return Vec::new();
        };
        let mut oldest = BTreeMap::new();
        for (id, _) in eligible.into_iter().filter(|(id, _)| self.level(id.lane) == highest) {
            let key = (id.sequence, id.lane);
            let entry = oldest.entry(id.lane.subscription()).or_insert(key);
            *entry = key.min(*entry);
        }
        oldest.into_values().map(|(sequence, lane)| DeliveryId { lane, sequence }).collect()
    }

    /// For how many more a lane has room. Who stands behind another takes none in a lane with keys.
    fn room(&self, lane: LaneId) -> usize {
        let by_key = self.terms(lane).order == Order::Key;
        let takes = self.held.iter().filter(|(id, (_, stand))| {
            id.lane == lane && (!by_key || *stand != Stand::Waiting || self.is_first(**id))
        });
        WINDOW.saturating_sub(takes.count())
    }

    /// Takes those that have room from the lanes that are to be told.
    fn vacancies(&mut self) -> Vec<Vacancy> {
        let mut vacancies = Vec::new();
        for lane in self.turned_away.clone() {
            let room = self.room(lane);
            if self.terms(lane).exists && room >= WINDOW.div_ceil(2) {
                self.turned_away.remove(&lane);
                vacancies.push(Vacancy { lane, room: u32::try_from(room).unwrap() });
            }
        }
        vacancies
    }

    fn lease(&self, pick: usize) -> Option<(Lease, bool)> {
        let lease = *self.leases.get(pick.checked_rem(self.leases.len())?)?;
        let held = matches!(
            self.held.get(&lease.delivery),
            Some((_, Stand::Leased { token, .. })) if *token == lease.token
        );
        Some((lease, held))
    }

    fn counts(&self) -> [Counts; LEVELS] {
        let mut counts = [Counts::default(); LEVELS];
        for (id, (due, stand)) in &self.held {
            let counts = &mut counts[usize::from(self.level(id.lane))];
            match stand {
                Stand::Leased { .. } => counts.in_flight += 1,
                Stand::Waiting if *due <= self.now && self.is_first(*id) => counts.ready += 1,
                Stand::Waiting => counts.delayed += 1,
            }
        }
        counts
    }

    fn expire(&mut self) {
        for (_, stand) in self.held.values_mut() {
            if matches!(stand, Stand::Leased { deadline, .. } if *deadline <= self.now) {
                *stand = Stand::Waiting;
            }
        }
    }

    fn rules(&self) -> Arc<Rules> {
        let mut rules = rules_with(self.terms.iter().map(|(number, terms)| SubscriptionSpec {
            priority: terms.priority.and_then(|level| Priority::try_from(level).ok()),
            max_in_flight: Some(terms.cap),
            ordering: match terms.order {
                Order::None => Ordering::None,
                Order::Strict => Ordering::Strict,
                Order::Key => Ordering::Key("any".to_owned()),
            },
            // Two of each subscriber.
            subscriber: (number % 2 == 0).then(|| "other".to_owned()),
            ..subscription_spec(&number.to_string())
        }));
        for (number, terms) in &self.terms {
            let number = SubscriptionNumber(*number);
            if !terms.exists {
                rules.subscriptions.remove(&number);
            } else if let Some(subscription) = rules.subscriptions.get_mut(&number)
                && !terms.active
            {
                Arc::make_mut(subscription).status = SubscriptionStatus::Paused;
            }
        }
        Arc::new(rules)
    }
}

/// The schedule and its model, side by side.
struct Pair {
    schedule: Schedule,
    model: Model,
}

impl Pair {
    fn new() -> Self {
        let now = Timestamp(1_000);
        let model = Model {
            now,
            held: BTreeMap::new(),
            lines: BTreeMap::new(),
            terms: (1..=SUBSCRIPTIONS).map(|number| (number, PLAIN)).collect(),
            leases: Vec::new(),
            turned_away: BTreeSet::new(),
        };
        let config = Config {
            minimum_share: 0.0,
            window: u32::try_from(WINDOW).unwrap(),
            lease: Span(Duration::from_micros(LEASE_US.unsigned_abs())),
            hold_delayed: Span(Duration::from_micros(HOLD_US.unsigned_abs())),
            ..Config::default()
        };
        Self { schedule: Schedule::new(config, model.rules(), now), model }
    }

    fn enqueue(&mut self, delivery: DeliveryId, due: Timestamp) {
        let model = &mut self.model;
        let room = model.room(delivery.lane);
        let key = given_key(delivery.sequence.0);
        let order = model.terms(delivery.lane).order;
        let expected = if !model.terms(delivery.lane).exists {
            Enqueued::Full
        } else if let Entry::Vacant(free) = model.held.entry(delivery) {
            if room > 0 {
                free.insert((due, Stand::Waiting));
                model.lines.insert(delivery, line_of(order, delivery.sequence.0, key));
                Enqueued::Queued
            } else {
                Enqueued::Full
            }
        } else {
            Enqueued::Held
        };
        if expected == Enqueued::Full {
            model.turned_away.insert(delivery.lane);
        }
        let item = FeedItem { delivery, due, key };
        assert_eq!(self.schedule.enqueue(item, model.now), expected);
    }

    fn start(&mut self) -> Option<Lease> {
        let choices = self.model.choices();
        let lease = self.schedule.start(self.model.now);
        let Some(lease) = lease else {
            assert_eq!(choices, [], "something could have started");
            return None;
        };
        assert!(choices.contains(&lease.delivery), "{lease:?} is not among {choices:?}");
        assert!(self.model.leases.iter().all(|other| other.token != lease.token));
        let Lease { token, deadline, .. } = lease;
        let (_, stand) = self.model.held.get_mut(&lease.delivery).unwrap();
        *stand = Stand::Leased { token, deadline, stray: false };
        self.model.leases.push(lease);
        Some(lease)
    }

    fn settle(&mut self, pick: usize, settlement: Settlement) {
        let Some((lease, held)) = self.model.lease(pick) else { return };
        let now = self.model.now;
        let stays = self.model.terms(lease.delivery.lane).order != Order::None;
        self.schedule.settle(&lease, settlement, now);
        match settlement {
            _ if !held => {}
            Settlement::Nack(due) if due.0 <= now.0 + HOLD_US || stays => {
                self.model.held.insert(lease.delivery, (due, Stand::Waiting));
            }
            Settlement::Nack(_) | Settlement::Ack => {
                self.model.held.remove(&lease.delivery);
            }
        }
    }

    fn extend(&mut self, pick: usize) {
        let Some((lease, held)) = self.model.lease(pick) else { return };
        let extended = self.schedule.extend(&lease, self.model.now);
        let deadline = Timestamp(self.model.now.0 + LEASE_US);
        assert_eq!(extended, held.then_some(Lease { deadline, ..lease }));
        if let (true, Some((_, Stand::Leased { deadline: until, .. }))) =
            (held, self.model.held.get_mut(&lease.delivery))
        {
            *until = deadline;
        }
    }

    fn advance(&mut self, us: i64) {
        self.model.now.0 += us;
        self.model.expire();
        self.schedule.advance(self.model.now);
        assert!(self.schedule.next_change().is_none_or(|next| next > self.model.now));
    }

    fn configure(&mut self, subscription: u32, terms: Terms) {
        let before = self.model.terms.insert(subscription, terms);
        if !terms.exists && before.is_some_and(|terms| terms.exists) {
            self.model.held.retain(|id, _| id.lane.subscription().0 != subscription);
            self.model.turned_away.retain(|lane| lane.subscription().0 != subscription);
        }
        if before.is_some_and(|before| before.order != terms.order) {
            self.reorder(subscription, terms.order);
        }
        self.schedule.set_rules(self.model.rules());
        self.schedule.advance(self.model.now);
    }

    /// What waits stands in line anew, and its keys are forgotten.
    fn reorder(&mut self, subscription: u32, order: Order) {
        let Model { held, lines, .. } = &mut self.model;
        let of = |id: &DeliveryId| id.lane.subscription().0 == subscription;
        for (id, (_, stand)) in held.iter_mut().filter(|(id, _)| of(id)) {
            lines.insert(*id, line_of(order, id.sequence.0, None));
            if let Stand::Leased { stray, .. } = stand {
                *stray = true;
            }
        }
    }

    fn take(&mut self, step: &Step) {
        let now = self.model.now;
        match *step {
            Step::Enqueue { subscription, priority, sequence, delay_us } => {
                let subscription = SubscriptionNumber(subscription);
                let lane = match priority {
                    REPLAYED => LaneId::behind(subscription),
                    _ => LaneId::new(subscription, Priority::try_from(priority).unwrap()),
                };
                let delivery = DeliveryId { lane, sequence: Sequence(sequence) };
                self.enqueue(delivery, Timestamp(now.0 + delay_us));
            }
            Step::Start => drop(self.start()),
            Step::Ack { pick } => self.settle(pick, Settlement::Ack),
            Step::Nack { pick, delay_us } => {
                self.settle(pick, Settlement::Nack(Timestamp(now.0 + delay_us)));
            }
            Step::Extend { pick } => self.extend(pick),
            Step::Advance { us } => self.advance(us),
            Step::Configure { subscription, terms } => self.configure(subscription, terms),
        }
        assert_eq!(self.schedule.counts(), &self.model.counts());
        let eligible = !self.model.choices().is_empty();
        assert_eq!(self.schedule.has_eligible(), eligible);
        assert_eq!(self.schedule.take_vacancies(), self.model.vacancies());
    }

    /// Finishes all that is left; each delivery comes once.
    fn drain(&mut self) {
        for subscription in 1..=SUBSCRIPTIONS {
            if self.model.terms[&subscription].exists {
                self.configure(subscription, PLAIN);
            }
        }
        self.advance(LEASE_US + HOLD_US + 130);
        while let Some(lease) = self.start() {
            self.schedule.settle(&lease, Settlement::Ack, self.model.now);
            self.model.held.remove(&lease.delivery);
        }
        assert_eq!(self.model.held, BTreeMap::new());
        assert_eq!(self.schedule.depth(), []);
        assert_eq!(self.schedule.next_change(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn keeps_its_promises(steps in prop::collection::vec(step(), 1..150)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
        pair.drain();
    }
}
