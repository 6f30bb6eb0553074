//! The index that events are searched by: blocks of events in the order of the log.
//!
//! A block is two rows, written once when it is full: a summary (which types, origins, audiences,
//! times and idempotency keys occur in it) and its columns (20 bytes for each event). A search
//! reads the summaries from the newest down, the columns of those blocks that may hold something,
//! and the facts of the events that fit. So an event costs the writer 1/500 of a row, and the
//! search for something rare skips 1,024 events with each summary. The block that is not full yet
//! is in memory, and is read anew from the facts when the log is opened.
//!
//! Blocks belong to a day and go with it. What they hold follows from the traffic facts of that
//! day alone. An event that was carried to another day is in a block of each: the row of its id
//! says where it lies now.

mod block;
mod load;
mod walk;

pub use block::{OpenBlock, is_indexed};
pub use load::{Backfill, backfill, load};
pub use walk::{Query, Visit, Walked, walk, walk_facts};

/// The first format in which logs have this index.
pub const SINCE_FORMAT: u32 = 4;
