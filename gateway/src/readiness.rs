//! Whether the server is able to take events, and if not, why.

use std::{fmt, sync::Arc};

/// Asks the parts whether they are able to work. Cheap to clone.
#[derive(Clone)]
pub struct Readiness {
    reasons: Question,
    warnings: Question,
}

type Question = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

impl Readiness {
    /// From a question that answers with the reasons against; none: ready. It is asked on every
    /// look, so it must not wait.
    pub fn new(reasons: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self { reasons: Arc::new(reasons), warnings: Arc::new(Vec::new) }
    }

    /// With a question after what is amiss and keeps nobody from working.
    #[must_use]
    pub fn warning(self, warnings: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self { warnings: Arc::new(warnings), ..self }
    }

    /// Why not; empty when ready.
    pub fn reasons(&self) -> Vec<String> {
        (self.reasons)()
    }

    /// What is amiss all the same; empty when nothing is.
    pub fn warnings(&self) -> Vec<String> {
        (self.warnings)()
    }

    /// Is there no reason against?
    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.reasons()).finish()
    }
}
