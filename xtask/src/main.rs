//! The repository's own commands: `cargo xtask test`, `cargo xtask test --all`, ...

mod baseline;
mod judges;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{postgres, run};

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
    /// Measure, and print the figures
    Bench {
        /// What
        #[command(subcommand)]
        what: Bench,
    },
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
        /// Something else than random input
        #[arg(value_enum)]
        what: Option<Soak>,
    },
}

/// What else can be given a long time.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Soak {
    /// Simulated power cuts and kills, at other points of other runs each time; needs strace
    Power,
    /// A PostgreSQL server that is gone for so long under load, and comes back
    Outage,
}

#[derive(Subcommand)]
enum Bench {
    /// The embedded store beside a plain file: appending, searching, opening, verifying; and
    /// appending to PostgreSQL. Takes minutes, and 4 GB beside master-api
    Store {
        /// Events in the log
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
    },
    /// What a dead endpoint, a backlog of the unimportant and a growing one cost the others, in the
    /// queue. Takes a minute
    Queue,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Test { all: false } => run::cargo(&["test", "--workspace"], &[]),
        Command::Test { all: true } => {
            let judges = judges::install()?;
            let s3 = judges.start_s3()?;
            let postgres = postgres::provide()?;
            let servers = [s3.variable(), postgres.variable()];
            let variables: Vec<_> = judges.variables().into_iter().chain(servers).collect();
            let features = "tests/all,schema-registry/all,master-api/all";
            // One failure does not hide another: a run is long.
            let tests = ["test", "--workspace", "--no-fail-fast", "--features", features];
            run::cargo(&tests, &variables)?;
            drop((s3, postgres));
            judges.check_schemas()
        }
        Command::Baseline => baseline::take(&run::root()),
        Command::Bench { what: Bench::Store { events } } => {
            let postgres = postgres::provide()?;
            let variables =
                [("CERTES_BENCH_EVENTS", events.to_string().into()), postgres.variable()];
            run::cargo(&["bench", "--package", "master-api", "--bench", "store"], &variables)
        }
        Command::Bench { what: Bench::Queue } => {
            run::cargo(&["bench", "--package", "queue", "--bench", "lanes"], &[])
        }
        Command::Soak { minutes, seed, debug, what: None } => run::soak(minutes * 60, seed, debug),
        Command::Soak { minutes, seed, debug, what: Some(Soak::Power) } => {
            run::soak_power(minutes * 60, seed, debug)
        }
        Command::Soak { minutes, debug, what: Some(Soak::Outage), .. } => {
            run::soak_outage(minutes * 60, debug)
        }
    }
}
