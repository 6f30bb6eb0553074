//! What Certes promises, told as stories, each in both wirings.

mod access;
mod bad_input;
mod delivery;
mod foreign;
mod hot_swap;
mod main_path;
mod priority;
mod quarantine;
mod rule_of_dependencies;
