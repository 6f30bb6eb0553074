//! `certes login`: who the commands that follow are, until `certes logout`.

use crate::{
    cli::ServerArgs, client::Locator, commands::user::PasswordArgs, login_file::LoginFile, output,
};
use anyhow::Result;
use clap::Args;

/// `certes login`
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The name of the user
    pub name: String,
    /// Password.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes logout`
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Runs `certes login`.
pub async fn log_in(args: LoginArgs) -> Result<()> {
    let locator = Locator::find(&args.server).await?;
    let password = args.password.read(false)?;
    let login = LoginFile::log_in(&locator.http, &args.name, &password).await?;
    let path = login.write()?;
    output::line(&format!(
        "logged in at {} as {} until {}; the token is in {}",
        locator.http,
        args.name,
        login.expires_at,
        path.display()
    ))
}

/// Runs `certes logout`.
pub async fn log_out(args: LogoutArgs) -> Result<()> {
    let locator = Locator::find(&args.server).await?;
    LoginFile::remove(&locator.http)?;
    output::line(&format!("logged out at {}", locator.http))
}
