//! Keys that sign deliveries as `v1a`: ed25519, `whsk_` and `whpk_` of Standard Webhooks 1.0.0.

use super::Desk;
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::secret::Secret;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// Since then, a log says which secrets are private keys.
pub(super) const KEYS_SINCE_FORMAT: u32 = 5;
/// Random bytes of a private key.
const SEED_BYTES: usize = 32;

/// The public half of a private key, as in `whpk_...`; None: it is none that can sign.
pub(super) fn public_key(private: &Secret) -> Option<String> {
    let pair = private.signing_key()?;
    let (seed, public) = pair.split_at_checked(SEED_BYTES)?;
    let pair = match public {
        [] => Ed25519KeyPair::from_seed_unchecked(seed),
        public => Ed25519KeyPair::from_seed_and_public_key(seed, public),
    };
    Some(format!("whpk_{}", STANDARD.encode(pair.ok()?.public_key().as_ref())))
}

/// A new private key.
pub(super) fn new_signing_key(desk: &Desk<'_>) -> Secret {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    desk.given.random.fill(seed.as_mut());
    Secret::new(format!("whsk_{}", STANDARD.encode(seed.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_follows_from_its_private_one_in_both_forms() {
        // RFC 8032, section 7.1, test 1.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let (seed, public) = (hex::decode(seed).unwrap(), hex::decode(public).unwrap());
        let wanted = Some(format!("whpk_{}", STANDARD.encode(&public)));
        let of =
            |bytes: &[u8]| public_key(&Secret::new(format!("whsk_{}", STANDARD.encode(bytes))));
        assert_eq!(of(&seed), wanted);
        assert_eq!(of(&[&seed[..], &public].concat()), wanted);
        let other = [&seed[..], &seed].concat();
        assert_eq!(of(&other), None, "its public half is another's");
        assert_eq!(of(&seed[..31]), None);
        assert_eq!(public_key(&Secret::webhook(&seed)), None);
    }
}
