//! The state machine of a delivery: one table. What is not in it does not happen; decisions ask it,
//! and the drawing in docs/lifecycle.md is checked against it.

use contract::delivery::{DeliveryState, Next};

/// What may befall a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// An attempt was answered with a 2xx.
    Succeeded,
    /// An attempt failed, and another one is to come.
    Failed,
    /// An attempt failed, and no other one is to come.
    GaveUp,
    /// It is given up without an attempt.
    Abandoned,
    /// Somebody has it sent again.
    Resent,
    /// A replay makes another one in its place.
    Replayed,
    /// It is taken back.
    Withdrawn,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::GaveUp,
        Self::Abandoned,
        Self::Resent,
        Self::Replayed,
        Self::Withdrawn,
    ];

    /// Its name in the drawing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::GaveUp => "gave up",
            Self::Abandoned => "abandoned",
            Self::Resent => "resent",
            Self::Replayed => "replayed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// What an attempt with this consequence is.
    pub const fn of(next: Next) -> Self {
        match next {
            Next::Done => Self::Succeeded,
            Next::Retry(_) => Self::Failed,
            Next::Dead(_) => Self::GaveUp,
        }
    }
}

/// Every transition: from, by, to.
pub const TRANSITIONS: [(DeliveryState, Trigger, DeliveryState); 9] = {
    use DeliveryState::{Cancelled, Dead, Delivered, Waiting};
    [
        (Waiting, Trigger::Succeeded, Delivered),
        (Waiting, Trigger::Failed, Waiting),
        (Waiting, Trigger::GaveUp, Dead),
        (Waiting, Trigger::Abandoned, Dead),
        (Waiting, Trigger::Withdrawn, Cancelled),
        (Delivered, Trigger::Resent, Waiting),
        (Dead, Trigger::Resent, Waiting),
        (Cancelled, Trigger::Resent, Waiting),
        (Dead, Trigger::Replayed, Cancelled),
    ]
};

/// The state after it; None: it does not happen.
pub fn after(state: DeliveryState, trigger: Trigger) -> Option<DeliveryState> {
    let wanted = TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (state, trigger));
    wanted.map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines `| from | by | to | ...` of the document.
    fn drawn() -> Vec<(String, String, String)> {
        let text = include_str!("../../docs/lifecycle.md");
        let rows = text.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().to_owned());
            let bare = |cell: String| cell.trim_matches('`').to_owned();
            let (from, by, to) = (cells.next()?, cells.next()?, cells.next()?);
            let is_state = to.starts_with('`') && by.starts_with('`');
            is_state.then(|| (bare(from), bare(by), bare(to)))
        });
        rows.collect()
    }

    #[test]
    fn the_document_draws_what_happens_and_nothing_else() {
        let table = TRANSITIONS
            .map(|(from, by, to)| (from.to_string(), by.as_str().to_owned(), to.to_string()));
        assert_eq!(drawn(), table);
    }

    #[test]
    fn nothing_leads_out_of_two_states_by_the_same_name() {
        for state in DeliveryState::ALL {
            for trigger in Trigger::ALL {
                let ways =
                    TRANSITIONS.iter().filter(|(from, by, _)| (*from, *by) == (state, trigger));
                assert!(ways.count() <= 1, "{state} by {trigger:?}");
            }
        }
    }
}
