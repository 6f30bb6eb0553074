//! How many attempts of one subscription may be in flight.

/// Where an adaptive cap starts.
const START: u32 = 32;
/// Where it stops growing.
const MAX: u32 = 256;

/// A cap on the attempts in flight, fixed by the subscription or learned from its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cap {
    /// As declared, at least 1.
    Fixed(u32),
    /// Between 1 and [`MAX`]. Grows by one with each success while at least half of it is used,
    /// which doubles it about every round trip (as slow start of RFC 5681 does, with the rule of
    /// RFC 7661 that what is not used does not grow), and halves with each failure.
    Adaptive(u32),
}

impl Cap {
    pub(super) fn new(declared: Option<u32>) -> Self {
        declared.map_or(Self::Adaptive(START), |fixed| Self::Fixed(fixed.max(1)))
    }

    pub(super) fn limit(self) -> usize {
        let (Self::Fixed(limit) | Self::Adaptive(limit)) = self;
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// An attempt succeeded, one of `in_flight`.
    pub(super) fn succeeded(&mut self, in_flight: usize) {
        if in_flight.saturating_mul(2) < self.limit() {
            return;
        }
        if let Self::Adaptive(limit) = self {
            *limit = (*limit + 1).min(MAX);
        }
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self) {
        if let Self::Adaptive(limit) = self {
            *limit = (*limit / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_cap_stays() {
        let mut cap = Cap::new(Some(3));
        cap.succeeded(3);
        cap.failed();
        assert_eq!(cap.limit(), 3);
        assert_eq!(Cap::new(Some(0)).limit(), 1);
    }

    #[test]
    fn grows_to_its_bound_in_a_few_round_trips() {
        let mut cap = Cap::new(None);
        assert_eq!(cap.limit(), 32);
        for _round in 0..8 {
            // A whole round in flight ends, one by one.
            for in_flight in (1..=cap.limit()).rev() {
                cap.succeeded(in_flight);
            }
        }
        assert_eq!(cap.limit(), 256);
    }

    #[test]
    fn does_not_grow_while_it_is_not_used() {
        let mut cap = Cap::new(None);
        for _ in 0..1000 {
            cap.succeeded(15);
        }
        assert_eq!(cap.limit(), 32);
    }

    #[test]
    fn shrinks_to_one_and_comes_back() {
        let mut cap = Cap::Adaptive(MAX);
        for _ in 0..8 {
            cap.failed();
        }
        assert_eq!(cap.limit(), 1);
        cap.failed();
        assert_eq!(cap.limit(), 1);
        cap.succeeded(1);
        assert_eq!(cap.limit(), 2);
    }
}
