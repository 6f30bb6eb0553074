//! Microsoft Graph signs nothing: each of its notifications shows the client state of the
//! subscription.

use super::{Claim, Proof, Signed, key::Key, read::refuse};
use contract::Result;
use serde::Deserialize;
use std::borrow::Cow;
use subtle::Choice;

#[derive(Deserialize)]
struct Notifications<'b> {
    #[serde(borrow)]
    value: Vec<Notification<'b>>,
}

#[derive(Deserialize)]
struct Notification<'b> {
    #[serde(borrow, rename = "clientState")]
    client_state: Option<Cow<'b, str>>,
}

pub(super) fn claim() -> Claim {
    Claim { header: "clientState".to_owned(), signatures: Vec::new(), signed: Signed::Shown }
}

/// Does every notification show one of the tokens?
pub(super) fn verify(keys: &[Key], body: &[u8]) -> Result<Proof> {
    let refused = || refuse("`clientState` is none of the source's".to_owned());
    let found: Notifications<'_> = serde_json::from_slice(body).map_err(|_json| refused())?;
    if found.value.is_empty() {
        return Err(refused());
    }
    let mut fits = Choice::from(1);
    for notification in &found.value {
        let shown = notification.client_state.as_deref().unwrap_or("").as_bytes();
        fits &= keys.iter().fold(Choice::from(0), |fits, key| fits | key.is_token(shown));
    }
    match fits.into() {
        true => Ok(Proof { bytes: Vec::new(), key: 0 }),
        false => Err(refused()),
    }
}
