//! Layers of the configuration: defaults < file < environment < flags, and where each value is
//! from. The only place that reads the environment.

use super::Config;
use crate::misuse::Misuse;
use anyhow::{Context, Result, anyhow, bail};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What is laid over the defaults.
#[derive(Debug, Default)]
pub struct Layers {
    /// `--config`; None: `./certes.toml` if it is there.
    pub file: Option<PathBuf>,
    /// Variables of the environment; only `CERTES_SECTION__KEY` is configuration.
    pub environment: BTreeMap<String, String>,
    /// Dotted key and text of each flag that was given.
    pub flags: Vec<(&'static str, String)>,
}

impl Layers {
    /// Layers with the environment of this process.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(&'static str, String)>) -> Self {
        Self { file, environment: std::env::vars().collect(), flags }
    }
}

/// A variable of the environment.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment comes in")]
    std::env::var(name).ok()
}

/// The variables of the environment whose names begin so.
pub fn variables(prefix: &str) -> Vec<(String, String)> {
    let all = std::env::vars_os();
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    all.filter_map(text).filter(|(name, _)| name.starts_with(prefix)).collect()
}

/// The effective configuration, and the origin of each dotted key. Fails with a [`Misuse`].
pub fn load(layers: &Layers) -> Result<(Config, BTreeMap<String, Origin>)> {
    merge_layers(layers).map_err(|error| Misuse::of(&error).into())
}

fn merge_layers(layers: &Layers) -> Result<(Config, BTreeMap<String, Origin>)> {
    let mut merged = Table::new();
    let mut origins = BTreeMap::new();
    if let Some((path, table)) = read_file(layers.file.as_deref())? {
        for key in leaves(&table) {
            origins.insert(key, Origin::File(path.clone()));
        }
        merged = table;
    }
    for (name, text) in &layers.environment {
        // Without `__` a variable is none of ours, or has a meaning of its own (CERTES_KEY).
        let Some((key, text)) = meant(name, text)? else { continue };
        set(&mut merged, &key, &text).with_context(|| format!("environment variable {name}"))?;
        origins.insert(key, Origin::Environment(name.clone()));
    }
    for (key, text) in &layers.flags {
        set(&mut merged, key, text).with_context(|| format!("flag for `{key}`"))?;
        origins.insert((*key).to_owned(), Origin::Flag);
    }
    let config: Config = merged.try_into().map_err(|error: toml::de::Error| explain(&error, ""))?;
    config.check()?;
    for key in leaves(&Table::try_from(&config)?) {
        origins.entry(key).or_insert(Origin::Default);
    }
    Ok((config, origins))
}

/// The key that a variable sets, and to what.
fn meant(name: &str, text: &str) -> Result<Option<(String, String)>> {
    let key = |key: &str| key.to_owned();
    Ok(match name {
        "CERTES_SECRET_KEY" => Some((key("master_api.secret_key"), text.to_owned())),
        "CERTES_ADMIN_KEY_FILE" => {
            let token =
                std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"));
            let token = token.with_context(|| format!("environment variable {name}"))?;
            Some((key("master_api.admin_key"), token.trim().to_owned()))
        }
        _ => name
            .strip_prefix("CERTES_")
            .filter(|key| key.contains("__"))
            .map(|key| (key.to_lowercase().replace("__", "."), text.to_owned())),
    })
}

fn read_file(given: Option<&Path>) -> Result<Option<(PathBuf, Table)>> {
    let path = given.unwrap_or(Path::new("certes.toml"));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if given.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => bail!("configuration file {}: {error}", path.display()),
    };
    // Once into the struct, for an error with line and column; once as a table, to merge.
    toml::from_str::<Config>(&text)
        .map_err(|error| explain(&error, &text))
        .with_context(|| format!("configuration file {}", path.display()))?;
    Ok(Some((path.to_owned(), toml::from_str(&text)?)))
}

/// What is wrong where in `text`, with "did you mean" for an unknown key. The line itself is not
/// shown: a secret may stand there.
fn explain(error: &toml::de::Error, text: &str) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = match before {
        Some(before) if !text.is_empty() => format!("line {}: ", before.matches('\n').count() + 1),
        _ => String::new(),
    };
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let suggestion = match (error.message().starts_with("unknown field"), quoted.next()) {
        (true, Some(found)) => quoted.min_by_key(|known| distance(found, known)),
        _ => None,
    };
    let message = error.message().trim_end();
    match suggestion {
        Some(known) => anyhow!("{place}{message}\ndid you mean `{known}`?"),
        None => anyhow!("{place}{message}"),
    }
}

/// Levenshtein's distance: how many letters to insert, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Puts a text at a dotted key, as the first of TOML value, text, or comma list that the
/// configuration accepts there.
fn set(table: &mut Table, key: &str, text: &str) -> Result<()> {
    let literal = toml::from_str::<Table>(&format!("x = {text}")).ok();
    let literal = literal.and_then(|mut table| table.remove("x"));
    let list = text.split(',').filter(|part| !part.trim().is_empty());
    let list = Value::Array(list.map(|part| Value::String(part.trim().to_owned())).collect());
    let plain = Value::String(text.to_owned());
    let mut refusal = None;
    for value in literal.into_iter().chain([plain, list]) {
        let probe = nested(key, value.clone());
        match probe.try_into::<Config>() {
            Ok(_) => {
                merge(table, nested(key, value));
                return Ok(());
            }
            Err(error) => refusal = refusal.or(Some(explain(&error, ""))),
        }
    }
    let refusal = refusal.unwrap_or_else(|| anyhow!("no value"));
    // A mistyped key may still carry a secret.
    if ["secret", "key", "token", "password", "store"].iter().any(|word| key.contains(word)) {
        return Err(anyhow!("the value for `{key}` is not accepted, or there is no such key"));
    }
    Err(refusal.context(format!("`{text}` for `{key}`")))
}

fn nested(key: &str, value: Value) -> Table {
    let (first, rest) = key.split_once('.').map_or((key, None), |(a, b)| (a, Some(b)));
    let value = rest.map_or(value.clone(), |rest| Value::Table(nested(rest, value)));
    Table::from_iter([(first.to_owned(), value)])
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => _ = into.insert(key, value),
        }
    }
}

/// Dotted keys of all values that are no tables.
fn leaves(table: &Table) -> Vec<String> {
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(inner) => leaves(inner).iter().map(|leaf| format!("{key}.{leaf}")).collect(),
        _ => vec![key.clone()],
    };
    table.iter().flat_map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(file: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Layers) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("certes.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        let environment = environment.collect();
        (dir, Layers { file: Some(path), environment, flags: Vec::new() })
    }

    #[test]
    fn later_layers_win_and_are_named() {
        let (_dir, mut given) = layers(
            "data_dir = \"/a\"\n[gateway]\nhttp = \"127.0.0.1:1\"\n[admin]\nhttp = \"127.0.0.1:2\"",
            &[
                ("CERTES_GATEWAY__HTTP", "127.0.0.1:3"),
                ("CERTES_CONSUMER__ALLOWED_NETWORKS", "127.0.0.0/8,10.0.0.0/8"),
                ("CERTES_KEY", "not configuration"),
                ("CERTES_SERVICE_HOST", "injected"),
            ],
        );
        given.flags = vec![("gateway.http", "127.0.0.1:4".into())];
        let (config, origins) = load(&given).unwrap();
        assert_eq!(config.gateway.http.port(), 4);
        assert_eq!(config.admin.http.port(), 2);
        assert_eq!(config.consumer.allowed_networks.len(), 2);
        assert_eq!(origins["gateway.http"], Origin::Flag);
        assert_eq!(origins["data_dir"], Origin::File(given.file.unwrap()));
        assert_eq!(origins["gateway.grpc"], Origin::Default);
        assert!(matches!(origins["consumer.allowed_networks"], Origin::Environment(_)));
    }

    #[test]
    fn unknown_keys_get_a_suggestion() {
        let (_dir, given) = layers("[gateway]\nhtp = \"127.0.0.1:1\"", &[]);
        let error = format!("{:#}", load(&given).unwrap_err());
        assert!(error.contains("certes.toml") && error.contains("line 2"), "{error}");
        assert!(error.contains("did you mean `http`?"), "{error}");

        let (_dir, given) = layers("", &[("CERTES_GATEWAY__HTP", "127.0.0.1:1")]);
        let error = format!("{:#}", load(&given).unwrap_err());
        assert!(error.contains("CERTES_GATEWAY__HTP") && error.contains("`http`"), "{error}");
    }

    #[test]
    fn no_mistake_shows_a_secret() {
        let (_dir, given) = layers("[master_api]\nsecret_keyy = \"hunter2\"", &[]);
        let error = format!("{:#}", load(&given).unwrap_err());
        assert!(error.contains("secret_keyy") && !error.contains("hunter2"), "{error}");
        let (_dir, given) = layers("", &[("CERTES_MASTER_API__SECRET_KEYY", "hunter2")]);
        let error = format!("{:#}", load(&given).unwrap_err());
        assert!(error.contains("SECRET_KEYY") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_wrong_value_says_what_was_found() {
        let (_dir, given) = layers("", &[("CERTES_GATEWAY__HTTP", "nowhere")]);
        let error = format!("{:#}", load(&given).unwrap_err());
        assert!(error.contains("nowhere") && error.contains("CERTES_GATEWAY__HTTP"), "{error}");
    }
}
