//! The repository's own commands: `cargo xtask test`, `cargo xtask test --all`.

mod judges;
mod run;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The repository's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the tests that need nothing but a Rust toolchain and a C compiler
    Test {
        /// Also those that need strace and other people's libraries, which it installs
        #[arg(long)]
        all: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test { all: false } => run::cargo(&["test", "--workspace"], &[]),
        Command::Test { all: true } => {
            let judges = judges::install()?;
            run::cargo(&["test", "--workspace", "--features", "tests/all,schema-registry/judges"], &judges.variables())?;
            judges.check_schemas()
        }
    }
}
