//! The commands of the command line, one file a subject.

pub mod apply;
pub mod backoff;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod doctor;
pub mod event;
pub mod quarantine;
pub mod log;
pub mod send;
