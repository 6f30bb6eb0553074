//! The commands of the command line, one file a subject.

pub mod apply;
pub mod backoff;
pub mod backup;
pub mod config;
pub mod delivery;
pub mod doctor;
pub mod event;
pub mod key;
pub mod listen;
pub mod log;
pub mod login;
pub mod past;
pub mod quarantine;
pub mod retention;
pub mod replay;
pub mod schema;
pub mod setting;
pub mod secret;
pub mod send;
pub mod source;
pub mod subscription;
pub mod user;
pub mod verify;
