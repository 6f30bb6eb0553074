//! Keys, and whether what they say of a content is what was claimed.

use contract::source::Algorithm;
use ring::{digest, hmac, signature};
use subtle::{Choice, ConstantTimeEq};

/// Bytes hashed before other requests get their turn: about a quarter of a millisecond.
pub(super) const HASHED_AT_ONCE_BYTES: usize = 256 * 1024;

/// Signatures of one request that are looked at with a public key: each costs the whole body.
const PUBLIC_SIGNATURES_MAX: usize = 4;

/// What a secret is to its scheme.
#[derive(Clone)]
pub(super) enum Key {
    /// HMAC (RFC 2104).
    Hmac(hmac::Key),
    /// SHA-256 over the secret and the content, as HubSpot did it at first.
    Prefixed(Vec<u8>),
    /// Ed25519 (RFC 8032).
    Ed25519([u8; 32]),
    /// ECDSA over P-256 with SHA-256; the signature in DER.
    P256([u8; 65]),
    /// Shown as it is.
    Token(Vec<u8>),
}

/// The signed bytes, in three pieces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content<'b> {
    pub(super) before: &'b [u8],
    pub(super) body: &'b [u8],
    pub(super) after: &'b [u8],
}

impl Key {
    pub(super) fn hmac(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let algorithm = match algorithm {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        };
        Self::Hmac(hmac::Key::new(algorithm, bytes))
    }

    /// Is one of the claimed signatures this key's over the content? Where it is, the bytes that
    /// tell this proof from others: nobody without the key can make others for the same content.
    pub(super) async fn fits(&self, content: Content<'_>, claimed: &[Vec<u8>]) -> Option<Vec<u8>> {
        match self {
            Self::Hmac(key) => {
                let length = key.algorithm().digest_algorithm().output_len();
                if !claimed.iter().any(|claimed| claimed.len() == length) {
                    return None;
                }
                equals_one(&self.sign(content).await?, claimed)
            }
            Self::Prefixed(_) | Self::Token(_) => equals_one(&self.sign(content).await?, claimed),
            Self::Ed25519(key) => {
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, key.to_vec());
                public(content, claimed, key, |_whole, claimed| claimed.to_vec()).await
            }
            Self::P256(key) => {
                let algorithm = &signature::ECDSA_P256_SHA256_ASN1;
                let key = signature::UnparsedPublicKey::new(algorithm, key.to_vec());
                // Whoever has one signature can make another of it: the content is what counts.
                let told = |whole: &[u8], _: &[u8]| {
                    digest::digest(&digest::SHA256, whole).as_ref().to_vec()
                };
                public(content, claimed, key, told).await
            }
        }
    }

    /// HMAC of a text; None: it is another kind of key.
    pub(super) fn mac(&self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hmac(key) => Some(hmac::sign(key, text).as_ref().to_vec()),
            Self::Prefixed(_) | Self::Ed25519(_) | Self::P256(_) | Self::Token(_) => None,
        }
    }

    /// Is it the token that was shown? In constant time.
    pub(super) fn is_token(&self, shown: &[u8]) -> Choice {
        match self {
            Self::Token(token) => token.ct_eq(shown),
            Self::Hmac(_) | Self::Prefixed(_) | Self::Ed25519(_) | Self::P256(_) => Choice::from(0),
        }
    }

    /// The signature of the content; None: a public key makes none.
    pub(super) async fn sign(&self, content: Content<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Hmac(key) => {
                let mut mac = hmac::Context::with_key(key);
                content.each(|piece| mac.update(piece)).await;
                Some(mac.sign().as_ref().to_vec())
            }
            Self::Prefixed(secret) => {
                let mut hash = digest::Context::new(&digest::SHA256);
                hash.update(secret);
                content.each(|piece| hash.update(piece)).await;
                Some(hash.finish().as_ref().to_vec())
            }
            Self::Token(token) => Some(token.clone()),
            Self::Ed25519(_) | Self::P256(_) => None,
        }
    }
}

/// In constant time over all that is claimed.
fn equals_one(right: &[u8], claimed: &[Vec<u8>]) -> Option<Vec<u8>> {
    let fits = claimed.iter().fold(Choice::from(0), |fits, claimed| fits | right.ct_eq(claimed));
    bool::from(fits).then(|| right.to_vec())
}

/// Public keys want the content in one piece, and take it in one go: a large one goes to a thread
/// where nobody waits for a turn. The copy is as large as the body, which is bounded.
async fn public(
    content: Content<'_>,
    claimed: &[Vec<u8>],
    key: signature::UnparsedPublicKey<Vec<u8>>,
    told: impl Fn(&[u8], &[u8]) -> Vec<u8> + Send + 'static,
) -> Option<Vec<u8>> {
    let whole = [content.before, content.body, content.after].concat();
    let claimed: Vec<_> = claimed.iter().take(PUBLIC_SIGNATURES_MAX).cloned().collect();
    let fits = move || {
        let right = claimed.iter().find(|claimed| key.verify(&whole, claimed).is_ok())?;
        Some(told(&whole, right))
    };
    match content.body.len() > HASHED_AT_ONCE_BYTES {
        true => tokio::task::spawn_blocking(fits).await.ok()?,
        false => fits(),
    }
}

impl Content<'_> {
    /// Gives all bytes to `take`, and other requests their turn between large pieces.
    async fn each(&self, mut take: impl FnMut(&[u8])) {
        take(self.before);
        in_pieces(self.body, &mut take).await;
        take(self.after);
    }
}

/// SHA-256 of a body, with turns for others.
pub(super) async fn sha256(body: &[u8]) -> digest::Digest {
    let mut hash = digest::Context::new(&digest::SHA256);
    in_pieces(body, &mut |piece| hash.update(piece)).await;
    hash.finish()
}

async fn in_pieces(body: &[u8], take: &mut impl FnMut(&[u8])) {
    let mut pieces = body.chunks(HASHED_AT_ONCE_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        take(piece);
        if pieces.peek().is_some() {
            tokio::task::yield_now().await;
        }
    }
}
