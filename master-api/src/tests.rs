//! Master API as a whole, on a clock that the tests step.

mod harness;
mod start;
mod storing;
mod delivering;
mod breaking;
mod skipping;
mod searching;
mod past;
mod live;
mod configuring;
mod sources;
mod failing;
mod damage;
mod missing;
mod copies;
mod sequences;
mod setting;
mod asking;
mod changing;
mod racing;
mod looking;
mod letting_in;
mod ensuring;
mod sending;
mod repeating;
mod retaining;
mod replaying;
mod erasing;
mod exchanging;
#[cfg(feature = "all")]
mod full;
#[cfg(feature = "all")]
mod replicas;
