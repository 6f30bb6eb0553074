//! Providers that sign a timestamp before the body, told in a header of its own or in a list.

use super::{
    Claim, Head, Settings,
    read::{items, named, refuse, required, signature, signatures, text},
};
use contract::{
    Result,
    source::{Encoding, TimeUnit},
};
use http::HeaderName;

/// Header names one signature of Hook0 may cover.
const COVERED_MAX: usize = 64;

/// Where a provider with two headers puts what.
pub(super) struct Stamped {
    pub(super) time: &'static str,
    pub(super) signature: &'static str,
    /// Before the signature.
    pub(super) prefix: &'static str,
    pub(super) encoding: Encoding,
    /// Around the timestamp in what is signed.
    pub(super) around: [&'static str; 2],
}

pub(super) const SLACK: Stamped = Stamped {
    time: "x-slack-request-timestamp",
    signature: "x-slack-signature",
    prefix: "v0=",
    encoding: Encoding::Hex,
    around: ["v0:", ":"],
};
pub(super) const ZOOM: Stamped = Stamped {
    time: "x-zm-request-timestamp",
    signature: "x-zm-signature",
    prefix: "v0=",
    encoding: Encoding::Hex,
    around: ["v0:", ":"],
};
pub(super) const DISCORD: Stamped = Stamped {
    time: "x-signature-timestamp",
    signature: "x-signature-ed25519",
    prefix: "",
    encoding: Encoding::Hex,
    around: ["", ""],
};
pub(super) const SENDGRID: Stamped = Stamped {
    time: "x-twilio-email-event-webhook-timestamp",
    signature: "x-twilio-email-event-webhook-signature",
    prefix: "",
    encoding: Encoding::Base64,
    around: ["", ""],
};

/// A signature and a timestamp, in a header each.
pub(super) fn claim(settings: &Settings, head: Head<'_>, form: &Stamped) -> Result<Claim> {
    let time = required(head.headers, form.time)?;
    settings.window(head.now).check(form.time, time, TimeUnit::Seconds)?;
    let found = signature(head.headers, form.signature, form.prefix, form.encoding)?;
    let [before, after] = form.around;
    let before = format!("{before}{time}{after}").into_bytes();
    Ok(Claim::around(form.signature, vec![found], before, Vec::new()))
}

/// Stripe: `t=1,v1=HEX`, over `t.body`.
pub(super) fn stripe(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "stripe-signature";
    let list = required(head.headers, header)?;
    let time = time(settings, head, header, list)?;
    let found = signatures(header, named(list, "v1"), "v1=HEX")?;
    Ok(Claim::around(header, found, format!("{time}.").into_bytes(), Vec::new()))
}

/// Convoy: the body in hex, or `t=1,v1=HEX`, over `t,body`.
pub(super) fn convoy(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-convoy-signature";
    let list = required(head.headers, header)?;
    if !list.contains('=') {
        let found = signature(head.headers, header, "", Encoding::Hex)?;
        return Ok(Claim::around(header, vec![found], Vec::new(), Vec::new()));
    }
    let time = time(settings, head, header, list)?;
    let found = signatures(header, named(list, "v1"), "v1=HEX")?;
    Ok(Claim::around(header, found, format!("{time},").into_bytes(), Vec::new()))
}

/// Hook0: `t=1,h=NAMES,v1=HEX`, over `t.names.values.body`; or of old `t=1,v0=HEX`, over `t.body`.
/// Where there are both, the one that covers more counts.
pub(super) fn hook0(settings: &Settings, head: Head<'_>) -> Result<Claim> {
    let header = "x-hook0-signature";
    let list = required(head.headers, header)?;
    let time = time(settings, head, header, list)?;
    if items(list).all(|(name, _)| name != "v1") {
        let found = signatures(header, named(list, "v0"), "v1=HEX")?;
        return Ok(Claim::around(header, found, format!("{time}.").into_bytes(), Vec::new()));
    }
    let found = signatures(header, named(list, "v1"), "v1=HEX")?;
    let names = items(list).find(|(name, _)| *name == "h").map_or("", |(_, names)| names);
    let names = names.to_ascii_lowercase();
    let mut values = Vec::new();
    for name in names.split(' ').filter(|name| !name.is_empty()) {
        let known = name.parse::<HeaderName>().is_ok() && values.len() < COVERED_MAX;
        let value = known.then(|| text(head.headers, name).unwrap_or(""));
        let present = value.filter(|_| head.headers.contains_key(name));
        values.push(present.ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            refuse(format!("`{header}` covers the header `{shown}`, which is missing"))
        })?);
    }
    let before = format!("{time}.{names}.{}.", values.join(".")).into_bytes();
    Ok(Claim::around(header, found, before, Vec::new()))
}

/// The time of a list, as it was written.
fn time<'l>(settings: &Settings, head: Head<'_>, header: &str, list: &'l str) -> Result<&'l str> {
    let found = items(list).find(|(name, _)| *name == "t");
    let (_, time) = found.ok_or_else(|| refuse(format!("`{header}` has no `t=`")))?;
    settings.window(head.now).check(header, time, TimeUnit::Seconds)?;
    Ok(time)
}
