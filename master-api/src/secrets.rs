//! Secrets at rest: sealed with ChaCha20-Poly1305 (RFC 8439) under a key that lives in a file of
//! its own, so that a copy of the store alone tells nothing.

use crate::{
    log::LogError,
    store::{Rows, Scan, Table},
};
use contract::{Error, ErrorCode, Result, id::SecretId, random::Random, secret::Secret};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};
use zeroize::Zeroizing;

/// Key that seals the secrets, in the data directory.
pub const SECRET_KEY_FILE: &str = "secret.key";

/// All secrets, open, by id.
pub type Vault = BTreeMap<SecretId, Secret>;

/// Seals secrets and opens them.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// With the key `given`, else with the one in `file`, which is made when it is not there.
    pub fn new(given: Option<&Secret>, file: &Path, random: &dyn Random) -> Result<Self> {
        let text = match given {
            Some(key) => key.clone(),
            None => key_in(file, random)?,
        };
        Self::from_text(&text)
    }

    /// With the key in a file that is there.
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| cannot_use(file, &error))?;
        Self::from_text(&Secret::new(text))
    }

    fn from_text(text: &Secret) -> Result<Self> {
        let bad = || {
            let message = "the secret key is not what it has to be: 64 hexadecimal digits";
            Error::new(ErrorCode::InvalidDefinition, message)
        };
        // Exposed to become the key.
        let bytes = Zeroizing::new(hex::decode(text.expose().trim()).map_err(|_hex| bad())?);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_length| bad())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Nonce and sealed bytes. The id is sealed with them, so that two rows cannot be exchanged.
    pub fn seal(&self, id: SecretId, secret: &Secret, random: &dyn Random) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        // Exposed to be sealed.
        let mut sealed = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(id.to_bytes());
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_unspecified| Error::internal("a secret could not be sealed"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The reverse of [`Self::seal`]; None if it was sealed with another key or changed since.
    pub fn open(&self, id: SecretId, row: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = row.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.0.open_in_place(nonce, Aad::from(id.to_bytes()), &mut bytes).ok()?;
        std::str::from_utf8(open).ok().map(Secret::new)
    }

    /// All secrets of the store.
    pub fn open_all(&self, rows: &dyn Rows) -> Result<Vault> {
        let mut vault = Vault::new();
        let rows = rows.scan(&Scan::all(Table::Secrets, usize::MAX)).map_err(LogError::from)?;
        for (key, row) in rows {
            let id = key.as_ref().try_into().map(SecretId::from_bytes);
            let secret = id.ok().and_then(|id| Some((id, self.open(id, &row)?)));
            let (id, secret) = secret.ok_or_else(|| {
                let message = "the secret key does not fit the stored secrets: is it the key \
                               file of another data directory?";
                Error::new(ErrorCode::InvalidDefinition, message)
            })?;
            vault.insert(id, secret);
        }
        Ok(vault)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

/// Writes a secret to a file that its owner alone may read, wholly or not at all.
pub fn write_private(file: &Path, secret: &Secret) -> std::io::Result<()> {
    let beside = file.with_extension("tmp");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    // Exposed to its owner.
    opened.write_all(secret.expose().as_bytes())?;
    opened.write_all(b"\n")?;
    opened.sync_all()?;
    fs::rename(&beside, file)?;
    crate::log::head_file::sync_parent(file)
}

fn key_in(file: &Path, random: &dyn Random) -> Result<Secret> {
    let failed = |error| cannot_use(file, &error);
    match fs::read_to_string(file) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut bytes = Zeroizing::new([0; 32]);
            random.fill(bytes.as_mut());
            let key = Secret::new(hex::encode(bytes.as_ref()));
            write_private(file, &key).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

fn cannot_use(file: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("{}: {error}", file.display()))
}
