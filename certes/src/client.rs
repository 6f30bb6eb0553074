//! How a command finds its server and key.

use crate::{cli::ServerArgs, login_file::LoginFile, misuse::Misuse, runtime_file::RuntimeFile};
use anyhow::{Context, Result, bail};
use contract::secret::Secret;
use std::path::{Path, PathBuf};

/// Data directories in which a server of this machine may run, best first.
const DATA_DIRS: [&str; 2] = ["./data", "./data/dev"];
/// Where a server listens when nobody says otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:9600";
/// File of the first key, in the data directory.
pub const ADMIN_KEY_FILE: &str = "admin.key";

/// Where the server is, and what it keeps on this machine.
#[derive(Debug)]
pub struct Locator {
    /// URL of the public HTTP listener; gRPC answers there, too. Without a slash at the end.
    pub http: String,
    /// Its data directory, if it runs on this machine.
    pub data_dir: PathBuf,
}

impl Locator {
    /// The server that was named, else the one that runs here, else the usual address.
    pub async fn find(args: &ServerArgs) -> Result<Self> {
        let mut running = None;
        for dir in DATA_DIRS.map(Path::new) {
            if let Some((file, url)) =
                RuntimeFile::read(dir).and_then(|f| Some((f.http?, f.http_url()?)))
                && tokio::net::TcpStream::connect(crate::runtime_file::reachable(file))
                    .await
                    .is_ok()
            {
                running = Some(Self { http: url, data_dir: dir.to_owned() });
                break;
            }
        }
        let Some(server) = &args.server else {
            return Ok(running.unwrap_or_else(|| Self {
                http: DEFAULT_SERVER.to_owned(),
                data_dir: PathBuf::from(DATA_DIRS[0]),
            }));
        };
        if !server.starts_with("http://") && !server.starts_with("https://") {
            let text =
                format!("`{server}` is no server; write http://HOST:PORT or https://HOST:PORT");
            bail!(Misuse::new(text));
        }
        let data_dir = running.map_or_else(|| PathBuf::from(DATA_DIRS[0]), |here| here.data_dir);
        Ok(Self { http: server.trim_end_matches('/').to_owned(), data_dir })
    }

    /// The API key: from the variable, from the file that was named, from the last login, or from
    /// the data directory.
    pub async fn key(&self, args: &ServerArgs) -> Result<Secret> {
        if let Some(key) = &args.key {
            return Ok(Secret::new(key));
        }
        let named = args.key_file.clone();
        if named.is_none()
            && let Some(login) = LoginFile::find(&self.http).await
        {
            return Ok(login.token);
        }
        let file = named.unwrap_or_else(|| self.data_dir.join(ADMIN_KEY_FILE));
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "cannot read an API key from {}; give --key-file or set CERTES_KEY",
                file.display()
            )
        })?;
        Ok(Secret::new(text.trim()))
    }
}
