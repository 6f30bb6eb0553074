//! Whether the server is able to take events, and if not, why.

use std::{fmt, sync::Arc};

/// Asks the parts whether they are able to work. Cheap to clone.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Vec<String> + Send + Sync>);

impl Readiness {
    /// From a question that answers with the reasons against; none: ready. It is asked on every
    /// look, so it must not wait.
    pub fn new(reasons: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(reasons))
    }

    /// Why not; empty when ready.
    pub fn reasons(&self) -> Vec<String> {
        (self.0)()
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
