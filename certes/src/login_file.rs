//! Where `certes login` keeps the token of a server: in a file of its own, for its owner alone.

use crate::{config::variable, http_client};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use contract::{
    clock::{Clock, SystemClock, Timestamp},
    secret::Secret,
};
use http::{Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{path::PathBuf, time::Duration};

/// A token that works for less than this is exchanged for another one.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 60);

/// A login at a server.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoginFile {
    /// The server.
    pub server: String,
    /// Its token.
    pub token: Secret,
    /// When the token stops working.
    pub expires_at: Timestamp,
}

impl LoginFile {
    /// Logs in.
    pub async fn log_in(server: &str, name: &str, password: &Secret) -> Result<Self> {
        // Exposed to the server, which was named or runs here.
        let body = json!({"username": name, "password": password.expose()}).to_string();
        let request = Request::post(format!("{server}/api/login"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))?;
        Self::ask(server, request).await
    }

    /// The login at a server, if there is one that works; renewed if it soon would not.
    pub async fn find(server: &str) -> Option<Self> {
        let text = std::fs::read(path(server).ok()?).ok()?;
        let login: Self = serde_json::from_slice(&text).ok()?;
        let now = SystemClock.now();
        if login.server != server || login.expires_at <= now {
            return None;
        }
        if login.expires_at > now.after(RENEW_BEFORE) {
            return Some(login);
        }
        match login.renew().await {
            Ok(renewed) if renewed.write().is_ok() => Some(renewed),
            _ => Some(login),
        }
    }

    async fn renew(&self) -> Result<Self> {
        let bearer = format!("Bearer {}", self.token.expose());
        let request = Request::post(format!("{}/api/login/renew", self.server))
            .header(header::AUTHORIZATION, bearer)
            .body(Bytes::new())?;
        Self::ask(&self.server, request).await
    }

    async fn ask(server: &str, request: Request<Bytes>) -> Result<Self> {
        let answer = http_client::call(request).await?;
        let json: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if answer.status() != StatusCode::OK {
            let why = json["detail"].as_str().unwrap_or("the server refused");
            bail!("{why} ({})", json["code"].as_str().unwrap_or(answer.status().as_str()));
        }
        let token = json["token"].as_str().map(Secret::new);
        Ok(Self {
            server: server.to_owned(),
            token: token.context("the server gave no token")?,
            expires_at: serde_json::from_value(json["expires_at"].clone())?,
        })
    }

    /// Keeps it; gives the path.
    pub fn write(&self) -> Result<PathBuf> {
        let path = path(&self.server)?;
        let failed = || format!("cannot write {}", path.display());
        let text = Secret::new(serde_json::to_string(self)?);
        let directory = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(directory).with_context(failed)?;
        master_api::secrets::write_private(&path, &text).with_context(failed)?;
        Ok(path)
    }

    /// Forgets the login at a server.
    pub fn remove(server: &str) -> Result<()> {
        match std::fs::remove_file(path(server)?) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The file of a server, in the user's configuration.
fn path(server: &str) -> Result<PathBuf> {
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
    let base = variable("XDG_CONFIG_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let base = base.or_else(home).context("neither XDG_CONFIG_HOME nor HOME is set")?;
    let name = hex::encode(&Sha256::digest(server.as_bytes())[..8]);
    Ok(base.join("certes").join(format!("login-{name}.json")))
}
