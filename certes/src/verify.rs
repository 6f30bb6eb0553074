//! Why the signature of a delivery is right or wrong, as its receiver got it. Pure: no clock, no
//! files.

mod body;
mod key;

use body::variants;
use contract::{clock::Timestamp, secret::Secret};
use key::Key;
use serde::Serialize;
use std::time::Duration;

/// A delivery as it was received.
#[derive(Debug)]
pub struct Received<'a> {
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    /// Its body.
    pub body: &'a [u8],
}

/// By what it is judged.
#[derive(Debug)]
pub struct Terms<'a> {
    /// `whsec_...`, `whpk_...` or `whsk_...`.
    pub secrets: &'a [Secret],
    /// When it is judged.
    pub now: Timestamp,
    /// How far its timestamp may lie from that.
    pub tolerance: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// A receiver may trust it.
    pub verified: bool,
    /// Sentences, the most important first.
    pub findings: Vec<String>,
}

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// Judges a delivery.
pub fn judge(received: &Received<'_>, terms: &Terms<'_>) -> Verdict {
    let mut findings = Vec::new();
    let missing: Vec<_> = [ID, TIMESTAMP, SIGNATURE]
        .into_iter()
        .filter(|name| received.header(name).is_none())
        .collect();
    if !missing.is_empty() {
        findings.extend(missing.iter().map(|name| received.why_missing(name)));
        return Verdict { verified: false, findings };
    }
    let keys = keys(terms.secrets, &mut findings);
    let good_time =
        judge_time(received.header(TIMESTAMP).unwrap_or_default(), terms, &mut findings);
    let signatures = signatures(received, &mut findings);
    let signed = received.signed();
    let fits = |key: &Key| {
        signatures.iter().any(|(kind, code)| key.fits(kind, &[&signed, received.body], code))
    };
    let Some(position) = keys.iter().position(fits) else {
        explain(received, &keys, &signatures, &mut findings);
        return Verdict { verified: false, findings };
    };
    let which =
        if keys.len() == 1 { "the secret".to_owned() } else { format!("secret {}", position + 1) };
    let kind = keys.get(position).map_or("", Key::kind);
    let (bytes, fits) = (received.body.len(), format!("{which} fits ({kind})"));
    findings.insert(0, format!("the signature is right: {fits}, over {bytes} bytes of body"));
    Verdict { verified: good_time, findings }
}

fn keys(secrets: &[Secret], findings: &mut Vec<String>) -> Vec<Key> {
    let mut keys = Vec::new();
    for (number, secret) in (1..).zip(secrets) {
        match Key::of(secret) {
            Ok(key) => keys.push(key),
            Err(why) => findings.push(format!("secret {number} cannot be used: {why}")),
        }
    }
    keys
}

/// Is the timestamp one that a receiver accepts?
fn judge_time(text: &str, terms: &Terms<'_>, findings: &mut Vec<String>) -> bool {
    let Ok(seconds) = text.parse::<i64>() else {
        let hint = if text.contains(['T', ':', '.']) {
            ": it has to be in whole seconds since 1970"
        } else {
            ""
        };
        findings.push(format!("`{TIMESTAMP}` is `{}`, which is no number{hint}", cut(text)));
        return false;
    };
    let tolerance = i64::try_from(terms.tolerance.as_secs()).unwrap_or(i64::MAX);
    let age = terms.now.unix_seconds().saturating_sub(seconds);
    if age.unsigned_abs() <= tolerance.unsigned_abs() {
        return true;
    }
    let (far, way) =
        (Duration::from_secs(age.unsigned_abs()), if age > 0 { "ago" } else { "ahead" });
    let what = match (seconds > 100_000_000_000, age > 0) {
        (true, _) => "; that looks like milliseconds, and has to be seconds".to_owned(),
        (false, true) => ": a delivery that waited, was sent again by somebody else, or a clock \
                          that is wrong; `--at` judges it as of another moment"
            .to_owned(),
        (false, false) => ": one of the two clocks is wrong".to_owned(),
    };
    findings.push(format!(
        "the timestamp lies {} {way}; receivers refuse what is more than {} off{what}",
        contract::backoff::Span(far),
        contract::backoff::Span(terms.tolerance),
    ));
    false
}

/// The codes of the header, each with its version.
fn signatures(received: &Received<'_>, findings: &mut Vec<String>) -> Vec<(String, Vec<u8>)> {
    let mut codes = Vec::new();
    for item in received.header(SIGNATURE).unwrap_or_default().split_ascii_whitespace() {
        let parted = item.split_once(',');
        let code = parted.and_then(|(kind, code)| Some((kind.to_owned(), key::decode(code)?)));
        match code {
            Some(code) => codes.push(code),
            None => findings.push(format!(
                "`{}` in `{SIGNATURE}` is not a version, a comma and base64: was the header cut?",
                cut(item)
            )),
        }
    }
    codes
}

/// Says why no signature fits.
fn explain(
    received: &Received<'_>,
    keys: &[Key],
    signatures: &[(String, Vec<u8>)],
    findings: &mut Vec<String>,
) {
    if keys.is_empty() || signatures.is_empty() {
        findings.insert(0, "the signature cannot be checked".to_owned());
        return;
    }
    let kinds: Vec<_> = signatures.iter().map(|(kind, _)| kind.as_str()).collect();
    if !keys.iter().any(|key| kinds.contains(&key.kind())) {
        let (there, wanted) = (kinds.join(" and "), keys.first().map_or("", Key::kind));
        let needed =
            if wanted == "v1" { "the public key `whpk_...`" } else { "the secret `whsec_...`" };
        findings.insert(0, format!(
            "the signature is of the kind {there}, and what was given checks {wanted}: give {needed}"
        ));
        return;
    }
    let signed = received.signed();
    let fits = |key: &Key, parts: &[&[u8]]| {
        signatures.iter().any(|(kind, code)| key.fits(kind, parts, code))
    };
    for (change, body) in variants(received.body) {
        if keys.iter().any(|key| fits(key, &[&signed, &body])) {
            findings.insert(0, format!(
                "the body was changed on its way: the signature fits a body {change}. Verify the \
                 bytes as they came, before anything parses, prints or trims them"
            ));
            return;
        }
    }
    for (use_of, key) in keys.iter().flat_map(Key::misused) {
        if fits(&key, &[&signed, received.body]) {
            findings.insert(
                0,
                format!("the signature fits if the secret is {use_of}: whoever signed took it so"),
            );
            return;
        }
    }
    if keys.iter().any(|key| fits(key, &[received.body])) {
        findings
            .insert(0, "the signature fits the body alone, without id and timestamp".to_owned());
        return;
    }
    let prints: Vec<_> = keys.iter().map(Key::fingerprint).collect();
    findings.insert(0, format!(
        "no signature fits: the secret is another one, or id, timestamp or body were changed in \
         a way that is not common. What was given has the fingerprint {}; `certes subscription list \
         --json` shows those that sign",
        prints.join(" and ")
    ));
}

impl Received<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        found.next().map(|(_, value)| value.trim())
    }

    /// What comes before the body in what is signed.
    fn signed(&self) -> Vec<u8> {
        let text = |name| self.header(name).unwrap_or_default();
        format!("{}.{}.", text(ID), text(TIMESTAMP)).into_bytes()
    }

    fn why_missing(&self, name: &str) -> String {
        let other = name.replace("webhook-", "svix-");
        let hint = if self.header(&other).is_some() {
            format!("; `{other}` is there: rename it, the values mean the same")
        } else if self.headers.is_empty() {
            "; there are no headers at all: is the file in the form `name: value`?".to_owned()
        } else {
            "; a proxy in front of the receiver may have dropped it".to_owned()
        };
        format!("the header `{name}` is missing{hint}")
    }
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    // The vector of the Standard Webhooks libraries.
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const NOW: Timestamp = Timestamp(1_614_265_330_000_000);

    fn headers(signature: &str) -> Vec<(String, String)> {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        [(ID, id), (TIMESTAMP, "1614265330"), (SIGNATURE, signature)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    fn published() -> Vec<(String, String)> {
        headers("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    fn judged(headers: &[(String, String)], body: &[u8], secret: &str, now: Timestamp) -> Verdict {
        let (secrets, tolerance) = ([Secret::new(secret)], Duration::from_secs(300));
        judge(&Received { headers, body }, &Terms { secrets: &secrets, now, tolerance })
    }

    #[track_caller]
    fn wrong(verdict: &Verdict, part: &str) {
        assert!(!verdict.verified, "{verdict:?}");
        assert!(verdict.findings.join("\n").contains(part), "{part}: {verdict:?}");
        assert!(!verdict.findings.join("\n").contains("MfKQ9r8"), "it shows the secret");
    }

    #[test]
    fn what_the_reference_signed_is_right() {
        let verdict = judged(&published(), BODY, SECRET, NOW);
        assert!(verdict.verified && verdict.findings[0].contains("is right"), "{verdict:?}");
        let several = headers("v1,AAAA v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(judged(&several, BODY, SECRET, NOW).verified);
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut left: Vec<_> = published().into_iter().filter(|(n, _)| n != name).collect();
            wrong(&judged(&left, BODY, SECRET, NOW), &format!("the header `{name}` is missing"));
            left.push((name.replace("webhook", "svix"), "1".into()));
            wrong(&judged(&left, BODY, SECRET, NOW), "rename it");
        }
    }

    #[test]
    fn the_time_is_judged_both_ways() {
        let at = |s: i64| Timestamp(NOW.0 + s * 1_000_000);
        assert!(judged(&published(), BODY, SECRET, at(300)).verified);
        let late = judged(&published(), BODY, SECRET, at(301));
        wrong(&late, "301s ago");
        assert!(late.findings[0].contains("the signature is right"), "{late:?}");
        wrong(&judged(&published(), BODY, SECRET, at(-301)), "one of the two clocks is wrong");
        let mut millis = published();
        millis[1].1 = "1614265330000".into();
        wrong(&judged(&millis, BODY, SECRET, NOW), "milliseconds");
        millis[1].1 = "2021-02-25T15:02:10Z".into();
        wrong(&judged(&millis, BODY, SECRET, NOW), "whole seconds");
    }

    #[test]
    fn a_body_that_was_written_anew_is_told() {
        for (body, part) in [
            (&b"{\"test\": 2432232314}\n"[..], "without the line end at its end"),
            (b"{\"test\":2432232314}", "a space after each colon and comma"),
            (b"{\n  \"test\": 2432232314\n}", "a space after each colon and comma"),
            (b"\xef\xbb\xbf{\"test\": 2432232314}", "without the byte order mark"),
        ] {
            wrong(&judged(&published(), body, SECRET, NOW), part);
        }
        wrong(&judged(&published(), br#"{"test": 1}"#, SECRET, NOW), "no signature fits");
    }

    #[test]
    fn secrets_of_another_kind_or_use_are_told() {
        wrong(&judged(&published(), BODY, "whsec_AAAA not", NOW), "secret 1 cannot be used");
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        let verdict = judged(&published(), BODY, other, NOW);
        wrong(&verdict, &Secret::new(other).fingerprint());
        // Signed with the text of the secret, as some do.
        let text = key::tests::signed_with(
            SECRET.as_bytes(),
            b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.",
            BODY,
        );
        wrong(&judged(&headers(&text), BODY, SECRET, NOW), "taken as a text");
        let alone = key::tests::signed_with(&Secret::new(SECRET).webhook_key().unwrap(), b"", BODY);
        wrong(&judged(&headers(&alone), BODY, SECRET, NOW), "the body alone");
        let public = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        wrong(&judged(&published(), BODY, public, NOW), "give the secret `whsec_...`");
        wrong(&judged(&headers("v1a,AAAA"), BODY, SECRET, NOW), "give the public key");
        wrong(&judged(&headers("v1=abc"), BODY, SECRET, NOW), "was the header cut");
    }
}
