//! What Certes promises, told as stories, each in both wirings.

mod access;
mod bad_input;
mod delivery;
mod main_path;
mod priority;
mod rule_of_dependencies;
mod schemas;
