//! Providers that sign the URL that they were given, too: Twilio, Square, HubSpot.

use super::{
    Claim, Head, Settings, Signed,
    key::sha256,
    read::{refuse, required, signature},
};
use contract::{
    Result,
    source::{Encoding, TimeUnit},
};
use std::{borrow::Cow, collections::BTreeSet};
use subtle::ConstantTimeEq;

/// What HubSpot has decoded in the URL before it signs ("Validating requests", version 3).
const HUBSPOT_DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

/// Square: the URL and the body.
pub(super) fn square(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-square-hmacsha256-signature";
    let found = signature(head.headers, header, "", Encoding::Base64)?;
    Ok(Claim::around(header, vec![found], settings.public_url.clone().into_bytes(), Vec::new()))
}

/// HubSpot version 3: method, URL, body and timestamp.
pub(super) fn hubspot(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-hubspot-signature-v3";
    let time_name = "x-hubspot-request-timestamp";
    let time = required(head.headers, time_name)?;
    settings.window(head.now).check(time_name, time, TimeUnit::Milliseconds)?;
    let found = signature(head.headers, header, "", Encoding::Base64)?;
    let mut url = settings.url(head);
    for (encoded, decoded) in HUBSPOT_DECODED {
        url = url.replace(encoded, decoded);
    }
    let before = format!("{}{url}", head.method).into_bytes();
    Ok(Claim::around(header, vec![found], before, time.as_bytes().to_vec()))
}

/// HubSpot version 2: the secret, method, URL and body under SHA-256.
pub(super) fn hubspot_v2(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-hubspot-signature";
    let found = signature(head.headers, header, "", Encoding::Hex)?;
    let before = format!("{}{}", head.method, settings.url(head)).into_bytes();
    Ok(Claim::around(header, vec![found], before, Vec::new()))
}

/// Twilio: the URL, and the fields of a form in order; or for other bodies the URL alone, which
/// tells their SHA-256 as `bodySHA256`. HMAC-SHA1, or SHA-256 where Twilio has a shared key.
pub(super) fn twilio(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-twilio-signature";
    let found = signature(head.headers, header, "", Encoding::Base64)?;
    let url = settings.url(head);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut fields = url::form_urlencoded::parse(query.as_bytes());
    let urls = ports(&url);
    let signed = match fields.find(|(name, _)| name == "bodySHA256") {
        None => Signed::TwilioForm { urls },
        Some((_, digest)) => {
            let digest = hex::decode(digest.as_bytes())
                .map_err(|_digits| refuse("`bodySHA256` is not hexadecimal digits".to_owned()))?;
            Signed::TwilioDigest { urls, digest }
        }
    };
    Ok(Claim { header: header.to_owned(), signatures: vec![found], signed })
}

/// A URL without its port and with it: Twilio signs now the one, now the other.
fn ports(url: &str) -> [String; 2] {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let default = if scheme == "http" { "80" } else { "443" };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, default),
    };
    [format!("{scheme}://{host}{path}"), format!("{scheme}://{host}:{port}{path}")]
}

/// The content of a form: the URL, then each name with each of its values, sorted and once.
pub(super) fn twilio_form(url: &str, body: &[u8]) -> Vec<u8> {
    let fields: BTreeSet<(Cow<'_, str>, Cow<'_, str>)> =
        url::form_urlencoded::parse(body).collect();
    let length = fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let mut content = Vec::with_capacity(url.len() + length);
    content.extend_from_slice(url.as_bytes());
    for (name, value) in fields {
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(value.as_bytes());
    }
    content
}

/// Does the body have the digest that the signed URL tells?
pub(super) async fn twilio_digest(digest: &[u8], body: &[u8]) -> Result<()> {
    match sha256(body).await.as_ref().ct_eq(digest).into() {
        true => Ok(()),
        false => Err(refuse("`bodySHA256` does not fit the body".to_owned())),
    }
}

impl Settings {
    /// The URL as the provider called it: the one it was given, with the query of this request.
    pub(super) fn url(&self, head: Head<'_>) -> String {
        let base = self.public_url.split('?').next().unwrap_or("");
        match head.query {
            Some(query) => format!("{base}?{query}"),
            None => self.public_url.clone(),
        }
    }
}
