//! Where a fact goes: its chain, its day, and what it does to state and rows.

use super::{Round, component};
use crate::{
    fact::{Bucket, FactBody},
    log::{Draft, LogError},
    store::Table,
    tables::{self, Head},
};
use contract::{access::Actor, id::Sequence};
use std::sync::Arc;

impl Round<'_> {
    /// Records a fact; gives its place.
    pub(in crate::writer) fn record(
        &mut self,
        actor: &Actor,
        fact: &FactBody,
    ) -> Result<(Sequence, Bucket), LogError> {
        let draft = Draft::new(actor, fact)
            .map_err(|source| LogError::Row { what: "a new fact".to_owned(), source })?;
        self.place(&draft, fact)
    }

    /// Gives a fact its place in its chain.
    pub(super) fn place(
        &mut self,
        draft: &Draft,
        body: &FactBody,
    ) -> Result<(Sequence, Bucket), LogError> {
        let bucket = Bucket::of(self.now);
        let is_traffic = body.chain() == crate::fact::Chain::Traffic;
        if is_traffic && self.head.bucket != Some(bucket) {
            self.open_bucket(bucket)?;
        }
        let sequence = Sequence(self.head.sequence.0 + 1);
        self.head.sequence = sequence;
        self.head.time = self.now;
        if body.is_notable(self.state.format) {
            self.notable = Some(sequence);
        }
        let key = tables::sequence_key(sequence);
        if is_traffic {
            let (row, hash) = draft.place(sequence, self.now, self.head.traffic);
            self.head.traffic = hash;
            self.head.last_traffic = sequence;
            self.head.bucket_count += 1;
            self.projector.batch.put(Table::Traffic(bucket), key, row);
            self.projector.apply((sequence, self.now, bucket), body)?;
        } else {
            let (row, hash) = draft.place(sequence, self.now, self.head.configuration);
            self.head.configuration = hash;
            self.projector.batch.put(Table::Configuration, key, row);
            self.apply_configuration(sequence, body)?;
        }
        Ok((sequence, bucket))
    }

    /// A new day: what is known of the last one becomes a fact of the configuration.
    fn open_bucket(&mut self, bucket: Bucket) -> Result<(), LogError> {
        self.close_bucket()?;
        self.head.bucket = Some(bucket);
        Ok(())
    }

    /// The open day has ended, if there is one.
    pub(in crate::writer) fn close_bucket(&mut self) -> Result<(), LogError> {
        if let Some(ended) = self.head.bucket {
            let Head { bucket_count: count, last_traffic: last, traffic: hash, .. } = self.head;
            let closed = FactBody::BucketClosed { bucket: ended, count, last, hash };
            self.record(&component("master-api"), &closed)?;
        }
        (self.head.bucket, self.head.bucket_count) = (None, 0);
        Ok(())
    }

    pub(super) fn apply_configuration(
        &mut self,
        sequence: Sequence,
        body: &FactBody,
    ) -> Result<(), LogError> {
        if let FactBody::BucketClosed { bucket, .. } = body {
            self.projector.end_day(*bucket)?;
        }
        if let FactBody::FormatRaised { format } = body {
            let row = format.to_be_bytes().to_vec();
            self.projector.batch.put(Table::Meta, tables::FORMAT, row);
        }
        if let FactBody::SecretErased { id } = body {
            self.sealed.insert(*id, None);
            Arc::make_mut(&mut self.vault).remove(id);
        }
        if let FactBody::SubscriptionRemoved { number } = body {
            self.removed.push(*number);
        }
        self.count_anew(body);
        Arc::make_mut(&mut self.state).apply(sequence, body);
        if let FactBody::BucketDropped { gone, .. } = body {
            self.projector.drop_day(self.state.dropped, gone);
        }
        Ok(())
    }
}
