//! The turn of a lane that is behind: its next page, from the log into the queue.

use super::{
    Feeder,
    table::{Turn, TurnEnd},
};
use contract::Result;
use futures_util::{StreamExt, stream};
use std::cmp::Reverse;

impl Feeder {
    /// One turn of each lane that is ready, the important ones first. Because a lane brings one
    /// page a turn, a huge backlog delays no other lane.
    pub(super) async fn take_turns(&self) -> Result<()> {
        let mut turns = self.table.turns(self.config.lanes_per_round.max(1));
        turns.sort_by_key(|turn| (turn.lane.is_behind(), Reverse(turn.lane.priority())));
        let mut ends = stream::iter(turns)
            .map(|turn| async move { (turn, self.take_turn(turn).await) })
            .buffer_unordered(self.config.lanes_at_once.max(1));
        let mut failure = None;
        while let Some((turn, end)) = ends.next().await {
            let end = end.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                TurnEnd::Failed
            });
            self.table.end(turn, end);
        }
        failure.map_or(Ok(()), Err)
    }

    async fn take_turn(&self, turn: Turn) -> Result<TurnEnd> {
        if turn.retries {
            // They are older than anything fresh.
            let due = self.retries(turn.lane).await?;
            if self.put(&due).await? < due.len() {
                return Ok(TurnEnd::Full { read: turn.after, retries: true });
            }
        }
        // One more than there is room for: a refusal ends the turn and brings the next vacancy.
        let limit = turn.room.map_or(u32::MAX, |room| room.saturating_add(1));
        let page = self.fresh(turn.lane, turn.after, limit).await?;
        let taken = self.put(&page.fresh).await?;
        let last = page.fresh[..taken].last().map(|item| item.delivery.sequence);
        let read = last.unwrap_or(turn.after).max(turn.after);
        if taken < page.fresh.len() {
            return Ok(TurnEnd::Full { read, retries: false });
        }
        let read = read.max(page.read_to);
        Ok(match page.more && read > turn.after {
            true => TurnEnd::More { read },
            false => TurnEnd::CaughtUp { read },
        })
    }
}
