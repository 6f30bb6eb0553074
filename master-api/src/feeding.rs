//! Who feeds the queue: of several feeders one, by a lease with a fence. Where several replicas
//! share a database the lease is a row there; this is what one process knows.

use contract::{Error, ErrorCode, Result, clock::Timestamp, master_api::Fence};
use std::time::Duration;

/// For how long a feeder that is not heard of keeps the right, where the log is this process's.
pub const LEASE: Duration = Duration::from_secs(5);

/// The right to feed.
#[derive(Debug, Default)]
pub struct Feeding {
    holder: Option<(String, Timestamp)>,
    /// The newest that is known.
    fence: Fence,
}

impl Feeding {
    /// Gives the right to a feeder, or keeps it with it; None: another one has it. A fence is
    /// never given twice, also not after a restart: it grows with the time.
    pub fn lead(&mut self, feeder: &str, now: Timestamp) -> Option<Fence> {
        match &self.holder {
            Some((holder, until)) if holder != feeder && now < *until => return None,
            Some((holder, _)) if holder == feeder => {}
            Some(_) | None => {
                let micros = Fence(u64::try_from(now.0).unwrap_or_default());
                self.fence = micros.max(Fence(self.fence.0 + 1));
            }
        }
        self.holder = Some((feeder.to_owned(), now.after(LEASE)));
        Some(self.fence)
    }

    /// A feeder gives the right back.
    pub fn step_down(&mut self, feeder: &str) {
        self.holder.take_if(|(holder, _)| holder == feeder);
    }

    /// What somebody writes by this fence may be written, as far as is known here.
    ///
    /// Errors: `conflict`: the right is another's.
    pub fn check(&mut self, fence: Fence) -> Result<()> {
        if fence < self.fence || fence == Fence::default() {
            let message = "another feeder has the right to feed";
            return Err(Error::new(ErrorCode::Conflict, message));
        }
        self.fence = fence;
        Ok(())
    }

    /// The fence of the newest right that was written by.
    pub const fn fence(&self) -> Fence {
        self.fence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_feeds_at_a_time_and_an_old_fence_is_refused() {
        let (start, mut feeding) = (Timestamp(1_000_000_000), Feeding::default());
        let first = feeding.lead("a", start).unwrap();
        assert_eq!(feeding.lead("b", start), None);
        let kept = start.after(LEASE / 2);
        assert_eq!(feeding.lead("a", kept), Some(first));
        assert_eq!(feeding.lead("b", start.after(LEASE)), None, "it was kept");
        let second = feeding.lead("b", kept.after(LEASE)).unwrap();
        assert!(second > first);
        assert_eq!(feeding.check(first).unwrap_err().code, ErrorCode::Conflict);
        feeding.check(second).unwrap();
        assert_eq!(feeding.lead("a", kept.after(LEASE)), None);
        feeding.step_down("a");
        assert_eq!(feeding.lead("a", kept.after(LEASE)), None, "it was not its to give back");
        feeding.step_down("b");
        assert!(feeding.lead("a", kept.after(LEASE)).unwrap() > second);
        // Another process does not know of these, and gives none of them.
        let mut restarted = Feeding::default();
        assert!(restarted.lead("c", kept.after(LEASE * 2)).unwrap() > second);
        assert!(restarted.check(Fence::default()).is_err());
    }
}
