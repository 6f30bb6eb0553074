//! Answers that are given again.

use super::Round;
use crate::{
    fact::Bucket,
    log::LogError,
    once::{AnswerRow, Once},
    project::decode,
    store::Table,
};

impl Round<'_> {
    /// What is remembered under a key, in one of two days.
    pub(super) fn answer_of(&self, once: &Once) -> Result<Option<AnswerRow>, LogError> {
        if let Some(row) = self.answers.get(&once.row) {
            return Ok(Some(row.clone()));
        }
        let today = Bucket::of(self.now);
        for day in [today, today.before()] {
            if let Some(row) = self.rows.get(Table::Idempotency(day), &once.row)? {
                return decode("answer", &row).map(Some);
            }
        }
        Ok(None)
    }
}
