//! Mistakes of the caller: wrong usage, configuration or manifest. The process exits with 2.

/// What was found where, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(String);

impl Misuse {
    /// A mistake, told in a sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// A mistake that an error with its context tells.
    pub fn of(error: &anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}
