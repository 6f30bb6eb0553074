//! The real binary, as users and power cuts meet it.

mod command_line;
mod kill;
mod process;
#[cfg(feature = "all")]
mod sync_before_answer;
#[cfg(feature = "all")]
mod judges;
