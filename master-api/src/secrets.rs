//! Secrets at rest: sealed with ChaCha20-Poly1305 (RFC 8439) under a key that lives in a file of
//! its own, so that a copy of the store alone tells nothing.

use crate::{
    log::LogError,
    service::MasterApi,
    shared::Shared,
    store::{Batch, Rows, Scan, Table},
    writer::Command,
};
use contract::{Error, ErrorCode, Result, id::SecretId, random::Random, secret::Secret};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};
use zeroize::Zeroizing;

/// Key that seals the secrets, in the data directory.
pub const SECRET_KEY_FILE: &str = "secret.key";

/// All secrets, open, by id.
pub type Vault = BTreeMap<SecretId, Secret>;

/// Seals secrets with a key, and opens what it or an older one has sealed.
pub struct Sealer {
    /// The first one seals.
    keys: Vec<Key>,
}

/// A key, and what rows call it.
struct Key {
    mark: Mark,
    key: LessSafeKey,
    /// As it stands in its file.
    text: Secret,
}

/// The beginning of the key's SHA-256: enough to tell keys apart, and nothing to find them by.
type Mark = [u8; 8];

/// What a row of format 3 starts with. It goes on with the mark of its key, the nonce, and the
/// sealed bytes. Older rows have nonce and sealed bytes alone.
const ROW_VERSION: u8 = 1;

impl Sealer {
    /// With the keys `given`, else with those in `file`, which is made when it is not there.
    pub fn new(given: Option<&Secret>, file: &Path, random: &dyn Random) -> Result<Self> {
        let text = match given {
            Some(key) => key.clone(),
            None => key_in(file, random)?,
        };
        Self::from_text(&text)
    }

    /// With the keys in a file that is there.
    pub fn from_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| cannot_use(file, &error))?;
        Self::from_text(&Secret::new(text))
    }

    /// Keys with commas or white space between them, the newest first.
    pub(crate) fn from_text(text: &Secret) -> Result<Self> {
        // Exposed to become keys.
        let texts = text.expose().split(|c: char| c == ',' || c.is_whitespace());
        let keys = texts.filter(|text| !text.is_empty()).map(Key::from_text);
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if keys.is_empty() { Err(bad_key()) } else { Ok(Self { keys }) }
    }

    /// The same with a new key before the others.
    fn with_new_key(&self, random: &dyn Random) -> Result<Self> {
        let olds = self.keys.iter().map(|old| old.text.expose());
        let text =
            [new_key(random).expose()].into_iter().chain(olds).collect::<Vec<_>>().join("\n");
        Self::from_text(&Secret::new(text))
    }

    /// All keys as a file holds them.
    fn text(&self) -> Secret {
        let texts: Vec<_> = self.keys.iter().map(|key| key.text.expose()).collect();
        Secret::new(texts.join("\n"))
    }

    /// Version, mark, nonce and sealed bytes. The id is sealed with them, so that two rows cannot
    /// be exchanged.
    pub fn seal(&self, id: SecretId, secret: &Secret, random: &dyn Random) -> Result<Vec<u8>> {
        let failed = || Error::internal("a secret could not be sealed");
        let Key { mark, key, .. } = self.keys.first().ok_or_else(failed)?;
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        // Exposed to be sealed: what is left of it is not readable.
        let mut sealed = secret.expose().as_bytes().to_vec();
        let aad = Aad::from(id.to_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_unspecified| failed())?;
        Ok([&[ROW_VERSION], mark.as_slice(), &nonce, &sealed].concat())
    }

    /// The reverse of [`Self::seal`]; None if no key of ours has sealed it or it was changed since.
    pub fn open(&self, id: SecretId, row: &[u8]) -> Option<Secret> {
        let named = self.named(row).and_then(|key| key.open(id, row.get(ROW_HEAD..)?));
        named.or_else(|| self.keys.iter().find_map(|key| key.open(id, row)))
    }

    /// Is the row sealed with the newest key?
    fn is_fresh(&self, row: &[u8]) -> bool {
        let newest = self.keys.first().map(|key| key.mark);
        newest.is_some() && self.named(row).map(|key| key.mark) == newest
    }

    /// The key that a row names.
    fn named(&self, row: &[u8]) -> Option<&Key> {
        let mark = row.strip_prefix(&[ROW_VERSION])?.get(..MARK_LEN)?;
        self.keys.iter().find(|key| key.mark == mark)
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

const MARK_LEN: usize = size_of::<Mark>();
const ROW_HEAD: usize = 1 + MARK_LEN;

impl Key {
    fn from_text(text: &str) -> Result<Self> {
        let bytes = Zeroizing::new(hex::decode(text).map_err(|_hex| bad_key())?);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_length| bad_key())?;
        let mut mark = Mark::default();
        mark.copy_from_slice(&Sha256::digest(&bytes)[..MARK_LEN]);
        Ok(Self { mark, key: LessSafeKey::new(key), text: Secret::new(text) })
    }

    fn open(&self, id: SecretId, row: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = row.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.key.open_in_place(nonce, Aad::from(id.to_bytes()), &mut bytes).ok()?;
        std::str::from_utf8(open).ok().map(Secret::new)
    }
}

fn bad_key() -> Error {
    let message = "the secret key is not what it has to be: 64 hexadecimal digits";
    Error::new(ErrorCode::InvalidDefinition, message)
}

fn new_key(random: &dyn Random) -> Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(bytes.as_mut());
    Secret::new(hex::encode(bytes.as_ref()))
}

/// Ends what a rotation began, before anybody writes: rows under older keys are sealed anew in one
/// batch, and then the older keys leave their file.
pub(crate) fn renew(shared: &Shared) -> Result<()> {
    let sealer = shared.sealer.load();
    let replicated = shared.store.replicated();
    if let Some(replicated) = replicated {
        // What another replica erases meanwhile must not come back.
        replicated.lock_head().map_err(LogError::from)?;
    }
    let rows = shared.store.scan(&Scan::all(Table::Secrets, usize::MAX)).map_err(LogError::from)?;
    let mut batch = Batch::default();
    for (key, row) in rows.iter().filter(|(_, row)| !sealer.is_fresh(row)) {
        let id = key.as_ref().try_into().map(SecretId::from_bytes).map_err(Error::internal)?;
        let secret = sealer.open(id, row).ok_or_else(bad_key)?;
        let sealed = sealer.seal(id, &secret, &*shared.around.random)?;
        batch.put(Table::Secrets, id.to_bytes(), sealed);
    }
    if !batch.0.is_empty() {
        let count = batch.0.len();
        shared.store.commit(batch).map_err(LogError::from)?;
        tracing::info!(count, "sealed the stored secrets anew");
    }
    if let Some(replicated) = replicated {
        // Others may still seal with an older key.
        replicated.let_go();
        return Ok(());
    }
    forget_old_keys(shared, &sealer)
}

/// Leaves the newest key in its file alone, if they are kept in one.
fn forget_old_keys(shared: &Shared, sealer: &Sealer) -> Result<()> {
    match sealer.keys.first() {
        Some(newest) if sealer.keys.len() > 1 && shared.config.secret_key.is_none() => {
            let file = shared.config.secret_key_path();
            write_private(&file, &newest.text).map_err(|error| cannot_use(&file, &error))?;
            shared.sealer.store(Arc::new(Sealer::from_text(&newest.text)?));
            Ok(())
        }
        _ => Ok(()),
    }
}

impl MasterApi {
    /// Makes a new key and seals all secrets with it. Whatever the moment at which this is cut
    /// short, the file holds the keys of all rows, which name theirs, and the next start ends it.
    pub(crate) async fn seal_anew(&self) -> Result<()> {
        let shared = &self.shared;
        if shared.store.replicated().is_some() {
            let message = "the replicas of a database share the key: give each `OLD,NEW`, then \
                           each `NEW,OLD`, then each `NEW`, one after the other";
            return Err(Error::new(ErrorCode::InvalidDefinition, message));
        }
        if shared.config.secret_key.is_some() {
            let message = "the key is given by the configuration: put a new one, a comma, and the \
                           old one there, and start again";
            return Err(Error::new(ErrorCode::InvalidDefinition, message));
        }
        let _one_at_a_time = self.sessions.making.lock().await;
        let sealer = shared.sealer.load().with_new_key(&*shared.around.random)?;
        let file = shared.config.secret_key_path();
        let text = sealer.text();
        let write = move || write_private(&file, &text).map_err(|error| cannot_use(&file, &error));
        tokio::task::spawn_blocking(write).await.map_err(Error::internal)??;
        self.writer.ask(|reply| Command::Reseal(sealer, reply)).await?;
        let shared = Arc::clone(shared);
        let forget = move || forget_old_keys(&shared, &shared.sealer.load_full());
        tokio::task::spawn_blocking(forget).await.map_err(Error::internal)?
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
            let key = new_key(random);
            write_private(file, &key).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

fn cannot_use(file: &Path, error: &std::io::Error) -> Error {
    Error::internal(format!("{}: {error}", file.display()))
}
