//! The certes binary: parse, configure, run, drain.

use certes::{
    cli::{Cli, Command, ServeArgs},
    commands, config, dev,
    environment::Environment,
    logging,
    misuse::Misuse,
    serve::Server,
    signals,
};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certes: {error:#}");
            ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    certes::install_crypto();
    match command {
        Command::Serve(args) => serve(args).await,
        Command::Dev(args) => {
            logging::start_quietly();
            dev::run(args, signals::stop()?).await
        }
        Command::Apply(args) => commands::apply::run(args).await,
        Command::Send(args) => commands::send::run(args).await,
        Command::Event(command) => commands::event::run(command).await,
        Command::Quarantine(command) => commands::quarantine::run(command).await,
        Command::Delivery(command) => commands::delivery::run(command).await,
        Command::Why(args) => commands::past::why(args).await,
        Command::History(args) => commands::past::history(args).await,
        Command::State(args) => commands::past::state(args).await,
        Command::Tail(args) => commands::event::tail(args).await,
        Command::Verify(args) => commands::verify::run(args),
        Command::Listen(args) => commands::listen::run(args, signals::stop()?).await,
        Command::Subscription(command) => commands::subscription::run(command).await,
        Command::Subscriber(command) => commands::retention::subscriber(command).await,
        Command::Source(command) => commands::source::run(command).await,
        Command::Schema(command) => commands::schema::run(command).await,
        Command::Key(command) => commands::key::run(command).await,
        Command::User(command) => commands::user::run(command).await,
        Command::Login(args) => commands::login::log_in(args).await,
        Command::Logout(args) => commands::login::log_out(args).await,
        Command::Secret(command) => commands::secret::run(command).await,
        Command::Setting(command) => commands::setting::run(command).await,
        Command::Backoff(command) => commands::backoff::run(command),
        Command::Replay(args) => commands::replay::run(args).await,
        Command::Retention(command) => commands::retention::run(command).await,
        Command::Log(command) => commands::log::run(command).await,
        Command::Backup(args) => commands::backup::backup(args).await,
        Command::Restore(args) => commands::backup::restore(args).await,
        Command::Config(command) => commands::config::run(command),
        Command::Doctor(args) => commands::doctor::run(args).await,
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let (config, _origins) = config::load(&args.config.layers())?;
    logging::start(&config.log)?;
    let stop = signals::stop()?;
    let mut server = tokio::select! {
        // A start may wait for what it needs.
        () = stop.cancelled() => return Ok(()),
        started = Server::start(config, Environment::system()) => started?,
    };
    server.announce()?;
    tokio::select! {
        () = stop.cancelled() => {}
        error = server.failed() => return Err(error),
    }
    server.stop().await
}
