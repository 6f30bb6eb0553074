//! `certes verify`: says to a receiver why the signature of a delivery is right or wrong.

use crate::{
    misuse::Misuse,
    output,
    verify::{Received, Terms, judge},
};
use anyhow::{Result, bail};
use clap::Args;
use contract::{
    backoff::Span,
    clock::{Clock, SystemClock, Timestamp},
    secret::Secret,
};
use serde_json::Value;
use std::{fs::File, io::Read, path::Path, path::PathBuf};

/// The largest body or file of headers in bytes.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// `certes verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The secret `whsec_...` or the public key `whpk_...`; several are tried one after the other
    #[arg(
        long,
        env = "CERTES_VERIFY_SECRET",
        hide_env_values = true,
        required = true,
        value_delimiter = ','
    )]
    secret: Vec<String>,
    /// The headers as they came: lines `name: value`, or a JSON object; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    headers: PathBuf,
    /// The body as it came, byte for byte; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Judge as of this moment, as in 2026-11-21T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How far the timestamp may lie from then
    #[arg(long, default_value = "5m")]
    tolerance: Span,
    /// Print JSON for machines
    #[arg(long)]
    json: bool,
}

/// Runs `certes verify`. Fails if a receiver should not trust the delivery.
pub fn run(args: VerifyArgs) -> Result<()> {
    let headers = headers(&read(&args.headers)?)?;
    let body = read(&args.body)?;
    let secrets: Vec<_> = args.secret.into_iter().map(Secret::new).collect();
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let terms = Terms { secrets: &secrets, now, tolerance: args.tolerance.0 };
    let verdict = judge(&Received { headers: &headers, body: &body }, &terms);
    match args.json {
        true => output::json(&verdict)?,
        false => verdict.findings.iter().try_for_each(|finding| output::line(finding))?,
    }
    match verdict.verified {
        true => Ok(()),
        false => bail!("the delivery does not verify"),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Misuse::new(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let mut source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    source.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        let why = format!("{} has more than {FILE_BYTES_MAX} bytes", path.display());
        return Err(Misuse::new(why).into());
    }
    Ok(bytes)
}

/// Names in lower case, with their values. The first line of a request or an answer is passed over,
/// and what follows an empty line.
fn headers(text: &[u8]) -> Result<Vec<(String, String)>> {
    let text = String::from_utf8_lossy(text);
    if let Ok(Value::Object(fields)) = serde_json::from_str(text.trim()) {
        return fields
            .into_iter()
            .map(|(name, value)| Ok((name.to_ascii_lowercase(), one(&name, value)?)))
            .collect();
    }
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    let lines = lines.take_while(|line| !line.trim().is_empty());
    let pair = |line: &str| {
        // As `curl -v` shows them.
        let line = line.trim_start_matches(['<', '>', ' ']);
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && !name.contains(' ');
        is_name.then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(lines.filter_map(pair).collect())
}

/// A value, or the first of a list, as servers for JavaScript hand them out.
fn one(name: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(values) if !values.is_empty() => {
            one(name, values.into_iter().next().unwrap_or_default())
        }
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Misuse::new(format!("the header `{name}` is neither a text nor a list of texts"))
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_the_ways_in_which_they_are_shown() {
        let raw = b"POST /hook HTTP/1.1\r\nWebhook-Id: evt_1\r\nx: a:b\r\n\r\nno: header";
        let curl = b"> POST /hook HTTP/1.1\n> webhook-id:evt_1\n> X: a:b\n";
        let json = br#"{"Webhook-Id": "evt_1", "X": ["a:b", "c"]}"#;
        for text in [&raw[..], curl, json] {
            let read = headers(text).unwrap();
            let wanted = [("webhook-id", "evt_1"), ("x", "a:b")];
            assert_eq!(read, wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
        }
        assert!(headers(br#"{"x": {}}"#).is_err());
    }
}
