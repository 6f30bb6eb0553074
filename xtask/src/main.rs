//! The repository's own commands: `cargo xtask test`, `cargo xtask test --all`, ...

mod baseline;
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
    /// Take the API documents as they are for those of a release, which later ones must not break
    Baseline,
    /// Give random input to the compiler and the validator of schemas, looking for panics, for
    /// input that takes too long and for payloads that JSON and protobuf disagree on
    Soak {
        /// How long
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
        /// The seed that a failed run printed, to repeat it
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Build without optimisation: slower input, sooner begun
        #[arg(long)]
        debug: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test { all: false } => run::cargo(&["test", "--workspace"], &[]),
        Command::Test { all: true } => {
            let judges = judges::install()?;
            let s3 = judges.start_s3()?;
            let variables: Vec<_> = judges.variables().into_iter().chain([s3.variable()]).collect();
            let features = "tests/all,schema-registry/all";
            run::cargo(&["test", "--workspace", "--features", features], &variables)?;
            drop(s3);
            judges.check_schemas()
        }
        Command::Baseline => baseline::take(&run::root()),
        Command::Soak { minutes, seed, debug } => run::soak(minutes * 60, seed, debug),
    }
}
