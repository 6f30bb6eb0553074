//! What Certes promises, told as stories, each in both wirings.

#![expect(clippy::unwrap_used, reason = "this is how a story fails")]

mod access;
mod announcements;
mod api;
mod bad_input;
mod breaker;
mod declaring;
mod delivery;
mod documents;
mod exchanges;
mod filtering;
mod following;
mod foreign;
mod grpc;
mod hot_swap;
mod log_port;
mod looping;
mod main_path;
mod ordering;
mod ordering_keys;
mod past;
#[cfg(feature = "all")]
mod postgres;
mod priority;
mod publishing;
mod pulling;
mod quarantine;
mod queue_port;
mod repeating;
mod replaying;
mod roles;
mod retention;
mod rule_of_dependencies;
mod schemas;
mod sending;
mod settings;
mod sources;
mod test_fire;
mod users;
mod write_only;
