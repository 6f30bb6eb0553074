//! What the repository's own commands have in common with its tests: running other programs, and
//! PostgreSQL servers.

pub mod run;
pub mod postgres;
