//! Tests of the broker and the feeder against models of the log and the queue.

mod model;
mod accepting;
mod testing;
mod matching;
mod feeding;
mod ordering;
mod filtering;
mod healing;
mod leading;
mod racing;
mod announcing;
