//! One batch in the making: decides commands one after the other, each on what the ones before it
//! left, and gathers their rows. A refused command leaves no trace in it.

mod answers;
mod breaker;
mod place;

use crate::{
    decide::{
        self, Decided, Given,
        cancel::Progress,
        store_event::{Known, Question, Verdict},
    },
    fact::{Bucket, FactBody},
    lanes::LaneTable,
    lifecycle::{self, Trigger},
    log::LogError,
    once::AnswerRow,
    prepare::{Prepared, PreparedChanges},
    project::{Projector, decode, encode},
    secrets::{Sealer, Vault},
    shared::Shared,
    state::State,
    store::{Batch, Rows, Table},
    tables::{self, EventIdRow, Head, IdempotencyRow},
    tally::Tallies,
};
use bytes::Bytes;
use contract::{
    Error, Result,
    access::Actor,
    clock::Timestamp,
    command::{Change, ChangeKind},
    delivery::{AttemptReport, Delivery},
    id::{DeliveryId, EventId, SecretId, Sequence, SubscriptionNumber},
    master_api::Stored,
    subscription::SubscriptionStatus,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The format that allows to keep what went over the wire: older programs would not erase it.
const EXCHANGES_SINCE_FORMAT: u32 = 4;
/// Deliveries that are cancelled in one batch.
const CANCELLED_PER_BATCH: usize = 512;

/// A batch in the making.
pub struct Round<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rows: &'a dyn Rows,
    pub(super) now: Timestamp,
    /// The log's end, with what is in the batch.
    pub head: Head,
    /// The configuration, with what is in the batch.
    pub state: Arc<State>,
    /// Bytes of the secrets, with what is in the batch.
    pub vault: Arc<Vault>,
    /// Subscriptions that the batch removes.
    pub removed: Vec<SubscriptionNumber>,
    /// The newest event id that was ever seen.
    pub newest_event: EventId,
    /// The last notable fact of the batch.
    pub notable: Option<Sequence>,
    /// The read models.
    pub projector: Projector<'a>,
    /// What was counted of the attempts at endpoints, with what is in the batch.
    pub(super) tallies: Tallies,
    idempotency: HashMap<Vec<u8>, IdempotencyRow>,
    answers: HashMap<Vec<u8>, AnswerRow>,
    sealed: BTreeMap<SecretId, Option<Vec<u8>>>,
}

impl<'a> Round<'a> {
    /// Begins a batch on top of the last one. Its time is never before that one's.
    pub fn new(shared: &'a Shared, newest_event: EventId) -> Self {
        Self::on(shared, shared.rows(), newest_event)
    }

    /// The same, with the rows as they are read by somebody who knows what will be asked.
    pub fn on(shared: &'a Shared, rows: &'a dyn Rows, newest_event: EventId) -> Self {
        let (head, state) = (*shared.head(), shared.state.load_full());
        Self {
            shared,
            rows,
            now: shared.around.clock.now().max(head.time),
            head,
            vault: shared.vault.load_full(),
            removed: Vec::new(),
            newest_event,
            notable: None,
            projector: Projector::new(
                rows,
                head.stats,
                state.dropped,
                state.format,
                shared.block.load_full(),
            ),
            state,
            tallies: Tallies::new(),
            idempotency: HashMap::new(),
            answers: HashMap::new(),
            sealed: BTreeMap::new(),
        }
    }

    /// Appends an event, unless it was here before.
    pub fn store_event(&mut self, event: &Prepared) -> Result<Result<Stored>, LogError> {
        let question = Question {
            id: event.id,
            identity: event.idempotency.as_ref().map(|(_, identity)| *identity),
            rules: event.rules,
        };
        let known = self.known_of(event)?;
        let metrics = &self.shared.around.metrics;
        match decide::store_event::store_event(question, &known, self.now) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Verdict::Before(stored)) => {
                metrics.events_duplicate.inc();
                return Ok(Ok(stored));
            }
            Ok(Verdict::Take) => {}
        }
        if event.quarantined { &metrics.events_quarantined } else { &metrics.events_accepted }
            .inc();
        self.take(event).map(Ok)
    }

    /// Takes an event that was kept aside, unless somebody did so before.
    pub fn release_event(&mut self, event: &Prepared) -> Result<Result<Stored>, LogError> {
        let row = self.event_by_id(event.id)?;
        let row = row.filter(|row| self.state.retired.is_none_or(|day| row.bucket > day));
        let in_force = (self.state.match_sequence, self.state.sequence);
        match decide::release_event::release_event(event.id, event.rules, row.as_ref(), in_force) {
            Err(refusal) => Ok(Err(refusal)),
            Ok(Verdict::Before(stored)) => Ok(Ok(stored)),
            Ok(Verdict::Take) => {
                self.shared.around.metrics.events_accepted.inc();
                self.take(event).map(Ok)
            }
        }
    }

    /// Gives an event its place, with its payload.
    fn take(&mut self, event: &Prepared) -> Result<Stored, LogError> {
        let (sequence, bucket) = self.place(&event.draft, &event.body)?;
        let batch = &mut self.projector.batch;
        let key = tables::sequence_key(sequence);
        batch.put(Table::Payloads(bucket), key, event.payload.clone());
        if let Some((key, identity)) = &event.idempotency {
            let row = IdempotencyRow { event: event.id, identity: *identity, time: self.now };
            self.idempotency.insert(key.clone(), row);
        }
        let (lanes, quarantined) = (event.lanes.clone(), event.quarantined);
        self.newest_event = self.newest_event.max(event.id);
        Ok(Stored { id: event.id, sequence, lanes, duplicate: false, quarantined })
    }

    /// Takes down an attempt, and what went over the wire; false: it came too late.
    pub fn record_attempt(
        &mut self,
        report: &AttemptReport,
        exchange: Option<Bytes>,
    ) -> Result<bool, LogError> {
        let row = self.projector.delivery(report.delivery)?;
        let carried = row.and_then(|row| row.carried);
        let metrics = &self.shared.around.metrics;
        let Some(fact) = decide::record_attempt::record_attempt(row, report, self.now) else {
            metrics.attempts_superseded.inc();
            return Ok(false);
        };
        metrics.attempts_recorded.inc();
        let actor = component("consumer");
        self.record(&actor, &fact)?;
        if let Some(exchange) = exchange.filter(|_| self.state.format >= EXCHANGES_SINCE_FORMAT) {
            let day = self.day_of(report.delivery.sequence, carried);
            let key = tables::exchange_key(report.delivery, report.attempt.number);
            self.projector.batch.put(Table::Payloads(day), key, exchange);
        }
        if report.pause_subscription {
            let number = report.delivery.lane.subscription();
            if let Some(pause) = decide::pause_after_gone(&self.state, number) {
                self.record(&actor, &pause)?;
            }
        }
        self.judge(report)?;
        Ok(true)
    }

    /// The day that a delivery goes with.
    fn day_of(&self, sequence: Sequence, carried: Option<Bucket>) -> Bucket {
        let taken = || self.state.closed_bucket_of(sequence).or(self.head.bucket);
        carried.or_else(taken).unwrap_or_else(|| Bucket::of(self.now))
    }

    /// Makes a finished delivery wait again.
    pub fn resend(&mut self, actor: &Actor, id: DeliveryId) -> Result<Result<Delivery>, LogError> {
        let row = self.projector.delivery(id)?.cloned();
        let event = row.as_ref().map(|row| self.event_by_id(row.event)).transpose()?.flatten();
        let fact = match decide::resend::resend(&self.state, id, row.as_ref(), event.as_ref()) {
            Ok(fact) => fact,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.record(actor, &fact)?;
        let row = self.projector.delivery(id)?.cloned();
        let delivery = row.map(|row| row.into_delivery(id));
        Ok(delivery.ok_or_else(|| Error::internal("the delivery is gone")))
    }

    /// Carries out a changeset, all or nothing.
    pub fn execute(
        &mut self,
        actor: &Actor,
        PreparedChanges { changes: changeset, token_key, once }: &PreparedChanges,
    ) -> Result<Result<Vec<Change>>, LogError> {
        if let Some(once) = once {
            match once.repeated(self.answer_of(once)?, self.now) {
                Ok(None) => {}
                Ok(Some(first)) => return Ok(Ok(first)),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let (state, vault) = (Arc::clone(&self.state), Arc::clone(&self.vault));
        let around = &self.shared.around;
        let given = Given {
            state: &state,
            vault: &vault,
            now: self.now,
            token_key: token_key.as_ref(),
            ids: &*around.ids,
            random: &*around.random,
        };
        let decided = match decide::changeset(given, changeset) {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if changeset.dry_run {
            // Nothing was made: an id or secret shown here would never come true. And nothing was
            // recorded: so nothing is shown.
            let would = |change: Change| match change.kind {
                ChangeKind::Created => Change { id: None, revealed: None, ..change },
                ChangeKind::Changed | ChangeKind::Unchanged | ChangeKind::Removed => {
                    Change { revealed: None, ..change }
                }
            };
            return Ok(Ok(decided.changes.into_iter().map(would).collect()));
        }
        drop((state, vault));
        let answer = match once {
            None => None,
            Some(once) => match once.answered(&decided.changes, self.now) {
                Ok(row) => Some((once.row.clone(), row)),
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let done = self.record_all(actor, decided)?;
        if done.is_ok() {
            self.answers.extend(answer);
        }
        Ok(done)
    }

    /// Seals all secrets anew; from here on, `sealer` seals. No fact: what is sealed is the same.
    pub fn reseal(&mut self, sealer: Sealer) -> Result<()> {
        let random = &*self.shared.around.random;
        let sealed = self
            .vault
            .iter()
            .map(|(id, secret)| Ok((*id, Some(sealer.seal(*id, secret, random)?))));
        let sealed = sealed.collect::<Result<Vec<_>>>()?;
        self.sealed.extend(sealed);
        self.shared.sealer.store(Arc::new(sealer));
        Ok(())
    }

    /// From here on the log may hold what older programs refuse.
    pub fn raise_format(&mut self) -> Result<(), LogError> {
        let raised = FactBody::FormatRaised { format: crate::fact::FORMAT };
        self.record(&component("master-api"), &raised).map(|_place| ())
    }

    /// Records what was decided, with its secrets.
    pub fn record_all(
        &mut self,
        actor: &Actor,
        decided: Decided,
    ) -> Result<Result<Vec<Change>>, LogError> {
        let mut sealed = Vec::with_capacity(decided.secrets.len());
        let sealer = self.shared.sealer.load();
        for (id, secret) in &decided.secrets {
            match sealer.seal(*id, secret, &*self.shared.around.random) {
                Ok(row) => sealed.push((*id, Some(row))),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.sealed.extend(sealed);
        if !decided.secrets.is_empty() {
            Arc::make_mut(&mut self.vault).extend(decided.secrets);
        }
        for fact in &decided.facts {
            self.record(actor, fact)?;
        }
        Ok(Ok(decided.changes))
    }

    /// Cancels some waiting deliveries of a subscription that was removed or skips them; None: that
    /// were all, and it is noted. One that skips is resumed then.
    pub fn cancel(&mut self, progress: Progress) -> Result<Option<Progress>, LogError> {
        let actor = component("master-api");
        let (facts, next) = decide::cancel::cancel(self.rows, progress, CANCELLED_PER_BATCH)?;
        for fact in &facts {
            let FactBody::DeliveryCancelled { delivery, .. } = fact else { continue };
            // A report in this same batch may have finished it.
            let row = self.projector.delivery(*delivery)?;
            let may = |state| lifecycle::after(state, Trigger::Withdrawn).is_some();
            if row.is_some_and(|row| may(row.state)) {
                self.record(&actor, fact)?;
            }
        }
        if next.is_none() {
            let number = progress.number;
            self.record(&actor, &FactBody::SubscriptionCleared { number })?;
            if progress.until.is_some() {
                let (status, reason) = (SubscriptionStatus::Active, None);
                let resumed = FactBody::SubscriptionStatusChanged { number, status, reason };
                self.record(&actor, &resumed)?;
            }
        }
        Ok(next)
    }

    /// All rows of the batch, with the head and the moved cursors; empty if nothing happened.
    pub fn finish(&mut self, lanes: &mut LaneTable) -> Result<Batch, LogError> {
        self.projector.finish()?;
        let before = self.shared.head().sequence;
        let mut batch = std::mem::take(&mut self.projector.batch);
        for (key, row) in &self.idempotency {
            let table = Table::Idempotency(Bucket::of(self.now));
            batch.put(table, key.clone(), encode("idempotency key", row)?);
        }
        for (key, row) in &self.answers {
            let table = Table::Idempotency(Bucket::of(self.now));
            batch.put(table, key.clone(), encode("answer", row)?);
        }
        for (id, sealed) in std::mem::take(&mut self.sealed) {
            match sealed {
                Some(row) => batch.put(Table::Secrets, id.to_bytes(), row),
                None => batch.remove(Table::Secrets, id.to_bytes()),
            }
        }
        for (lane, cursor) in lanes.take_moved() {
            let key = tables::lane_key(lane);
            batch.put(Table::Cursors, key, tables::sequence_key(cursor).to_vec());
        }
        for (follower, cursor) in self.shared.followers().take_moved() {
            let key = tables::follower_key(&follower);
            batch.put(Table::Cursors, key, tables::sequence_key(cursor).to_vec());
        }
        if self.head.sequence != before {
            self.head.stats = self.projector.stats;
            let block = self.projector.block.as_ref();
            self.head.open_block = block.map_or(Sequence(0), |block| block.first());
            batch.put(Table::Meta, tables::HEAD, encode("head", &self.head)?);
        }
        Ok(batch)
    }

    fn known_of(&self, event: &Prepared) -> Result<Known, LogError> {
        let by_key = match &event.idempotency {
            Some((key, _)) => self.event_by_key(key)?,
            None => None,
        };
        Ok(Known {
            by_id: self.event_by_id(event.id)?,
            by_key,
            match_sequence: self.state.match_sequence,
            newest_rules: self.state.sequence,
        })
    }

    pub(super) fn event_by_id(&self, id: EventId) -> Result<Option<EventIdRow>, LogError> {
        // Ids grow with time: most are newer than all before, and need no look into the store.
        if id > self.newest_event {
            return Ok(None);
        }
        self.projector.event(id)
    }

    /// The newest use of an idempotency key. It lives for 24 hours, so it is in one of two days.
    fn event_by_key(&self, key: &[u8]) -> Result<Option<(IdempotencyRow, EventIdRow)>, LogError> {
        let today = Bucket::of(self.now);
        let mut used = self.idempotency.get(key).cloned();
        for day in [today, Bucket(today.0.saturating_sub(1))] {
            if used.is_none() {
                let row = self.rows.get(Table::Idempotency(day), key)?;
                used = row.map(|row| decode("idempotency key", &row)).transpose()?;
            }
        }
        let Some(used) = used else { return Ok(None) };
        Ok(self.event_by_id(used.event)?.map(|event| (used, event)))
    }
}

pub(super) fn component(name: &str) -> Actor {
    Actor::Component(name.to_owned())
}
