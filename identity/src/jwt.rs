//! JSON Web Tokens (RFC 7519): signed with RS256, verified with RS256 and ES256, by `ring`. Times
//! are held against a clock that is handed in.

use contract::{Result, authenticate::unknown, clock::Timestamp, secret::Secret};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result as JwtResult},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Once, time::Duration};

/// The algorithms that we take. What a token says of itself chooses among them only together with
/// the kind of the key that its issuer published under its `kid`.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// The largest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What has to be true of a token beside its signature.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who gave it out.
    pub issuer: &'a str,
    /// For whom it is.
    pub audience: &'a str,
    /// The time.
    pub now: Timestamp,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

/// Times that every token carries.
#[derive(serde::Deserialize)]
struct Times {
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
}

/// What a token says before it is believed.
#[derive(Debug)]
pub struct Unverified {
    /// Its algorithm, one of [`ALGORITHMS`].
    pub algorithm: Algorithm,
    /// The key it names.
    pub key_id: Option<String>,
    /// The issuer it names.
    pub issuer: String,
}

/// Reads what is needed to look for the key of a token. Errors: `unauthenticated`.
pub fn peek(token: &Secret) -> Result<Unverified> {
    #[derive(serde::Deserialize)]
    struct Issuer {
        iss: String,
    }
    let text = token.expose();
    let none = || unknown("this is neither an API key nor a token");
    if text.len() > TOKEN_BYTES_MAX {
        return Err(none());
    }
    let header = jsonwebtoken::decode_header(text).map_err(|_why| none())?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(unknown("the token is signed in a way that is not taken: RS256, ES256"));
    }
    let claims: Issuer = jsonwebtoken::dangerous::insecure_decode_claims(text)
        .map_err(|_why| unknown("the token names no issuer"))?;
    Ok(Unverified { algorithm: header.alg, key_id: header.kid, issuer: claims.iss })
}

/// The claims of a token that `key` has signed with `algorithm` and that keeps its `terms`.
/// Errors: `unauthenticated`.
pub fn verify<Claims: DeserializeOwned>(
    token: &Secret,
    key: &DecodingKey,
    algorithm: Algorithm,
    terms: Terms<'_>,
) -> Result<Claims> {
    install();
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[terms.issuer]);
    validation.set_audience(&[terms.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    // The library knows the system's clock only: see below.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let refuse = |why: &jsonwebtoken::errors::Error| match why.kind() {
        ErrorKind::InvalidSignature => unknown("the token's signature is wrong"),
        ErrorKind::InvalidAudience => unknown("the token is for somebody else"),
        _ => unknown("the token is not as it has to be"),
    };
    let decoded = jsonwebtoken::decode::<serde_json::Value>(token.expose(), key, &validation);
    let claims = decoded.map_err(|why| refuse(&why))?.claims;
    let malformed = |_json| unknown("the token lacks a claim that it has to carry");
    let times: Times = serde_json::from_value(claims.clone()).map_err(malformed)?;
    in_time(&times, terms)?;
    serde_json::from_value(claims).map_err(malformed)
}

fn in_time(times: &Times, Terms { now, leeway, .. }: Terms<'_>) -> Result<()> {
    let leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
    let now = now.unix_seconds();
    if times.exp.saturating_add(leeway) <= now {
        return Err(unknown("the token has expired"));
    }
    let begins = times.nbf.into_iter().chain(times.iat).max();
    match begins.is_some_and(|begins| begins.saturating_sub(leeway) > now) {
        true => Err(unknown("the token is not valid yet")),
        false => Ok(()),
    }
}

/// A token with these claims, signed with RS256 by an RSA key in DER (RFC 8017, A.1.2).
pub fn sign(claims: &impl Serialize, key_id: &str, private_key: &[u8]) -> Result<Secret> {
    install();
    let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::RS256) };
    let token = jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_der(private_key));
    let failed = |_why| contract::Error::internal("a token could not be signed");
    token.map(Secret::new).map_err(failed)
}

/// Makes `ring` the back end of the library, which knows one for a whole process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if RING.install_default().is_err() {
            tracing::debug!("another back end for tokens was installed before");
        }
    });
}

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        if *algorithm != Algorithm::RS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let pair = RsaKeyPair::from_der(key.as_bytes());
        let pair = pair.map_err(|why| ErrorKind::InvalidRsaKey(why.to_string()))?;
        Ok(Box::new(RingSigner(pair)))
    },
    verifier_factory: ring_verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

struct RingSigner(RsaKeyPair);

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let mut bytes = vec![0; self.0.public().modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut bytes);
        signed.map(|()| bytes).map_err(|_unspecified| SignatureError::new())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

fn ring_verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Ok(Box::new(RingRsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() })))
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) if point.len() == 65 => {
            Ok(Box::new(RingEcdsa(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.clone()))))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct RingRsa(RsaPublicKeyComponents<Vec<u8>>);

impl Verifier<Vec<u8>> for RingRsa {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let good = self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature);
        good.map_err(|_unspecified| SignatureError::new())
    }
}

impl JwtVerifier for RingRsa {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

struct RingEcdsa(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for RingEcdsa {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let good = self.0.verify(message, signature);
        good.map_err(|_unspecified| SignatureError::new())
    }
}

impl JwtVerifier for RingEcdsa {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}
