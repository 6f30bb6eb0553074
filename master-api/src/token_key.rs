//! RSA keys for RS256 (RFC 8017). `ring` signs with such keys and makes none, so the primes come
//! from `crypto-primes` and the rest is the arithmetic of RFC 8017, 3.2; `ring` checks the result.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use contract::{Error, Result, random::Random, secret::Secret};
use crypto_bigint::{
    BoxedUint, ConcatenatingMul, NonZero, Resize,
    rand_core::{TryCryptoRng, TryRng},
};
use crypto_primes::{Flavor, random_prime};
use ring::signature::RsaKeyPair;
use std::convert::Infallible;
use zeroize::{Zeroize, Zeroizing};

/// Bits of the modulus, and of each of its two primes.
const MODULUS_BITS: u32 = 2048;
const PRIME_BITS: u32 = MODULUS_BITS / 2;
/// The public exponent that everybody takes.
const EXPONENT: u32 = 65_537;

/// A key that was just made.
#[derive(Debug)]
pub struct NewTokenKey {
    /// Base64 of the `RSAPrivateKey` in DER.
    pub private: Secret,
    /// The modulus, base64url without padding.
    pub n: String,
    /// The public exponent, likewise.
    pub e: String,
}

/// The DER that [`NewTokenKey::private`] holds.
pub fn private_der(private: &Secret) -> Result<Zeroizing<Vec<u8>>> {
    // Exposed to sign.
    let der = STANDARD.decode(private.expose()).map(Zeroizing::new);
    der.map_err(|_base64| Error::internal("a token key cannot be read"))
}

/// Makes a key. Takes a good part of a second.
pub fn generate(random: &dyn Random) -> Result<NewTokenKey> {
    let mut dice = Dice(random);
    // Two primes of 1024 bits make a modulus of 2048 or, less often, 2047.
    loop {
        let p: BoxedUint = random_prime(&mut dice, Flavor::Any, PRIME_BITS);
        let q: BoxedUint = random_prime(&mut dice, Flavor::Any, PRIME_BITS);
        let (mut p, mut q) = if p > q { (p, q) } else { (q, p) };
        let key = of_primes(&p, &q);
        p.zeroize();
        q.zeroize();
        if let Some(key) = key {
            return key;
        }
    }
}

/// The key of two primes, the greater one first; None: they make none.
fn of_primes(p: &BoxedUint, q: &BoxedUint) -> Option<Result<NewTokenKey>> {
    let n = p.concatenating_mul(q);
    if n.bits() != MODULUS_BITS || p == q {
        return None;
    }
    let less_one = |prime: &BoxedUint| prime.wrapping_sub(BoxedUint::one());
    let (p1, q1) = (less_one(p), less_one(q));
    let e = BoxedUint::from(EXPONENT).resize_unchecked(MODULUS_BITS);
    let d = inverse(&e, &p1.concatenating_mul(&q1))?;
    let of_p = d.rem(&nonzero(&p1)?);
    let of_q = d.rem(&nonzero(&q1)?);
    let coefficient = inverse(q, p)?;
    let mut numbers = [n, e, d, p.clone(), q.clone(), of_p, of_q, coefficient];
    let der = private_key(&numbers);
    let public = |number: &BoxedUint| URL_SAFE_NO_PAD.encode(number.to_be_bytes_trimmed_vartime());
    let (n, e) = (public(&numbers[0]), public(&numbers[1]));
    numbers.iter_mut().for_each(Zeroize::zeroize);
    // It checks that all numbers fit each other.
    let fits = RsaKeyPair::from_der(&der);
    let fits = fits.map_err(|why| Error::internal(format!("an RSA key: {why}")));
    Some(fits.map(|_pair| NewTokenKey { private: Secret::new(STANDARD.encode(&*der)), n, e }))
}

fn inverse(number: &BoxedUint, modulus: &BoxedUint) -> Option<BoxedUint> {
    number.invert_mod(&nonzero(modulus)?).into()
}

fn nonzero(number: &BoxedUint) -> Option<NonZero<BoxedUint>> {
    NonZero::new(number.clone()).into()
}

/// `RSAPrivateKey` of two primes (RFC 8017, A.1.2): the version 0, then the numbers.
fn private_key(numbers: &[BoxedUint]) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(vec![0x02, 0x01, 0x00]);
    for number in numbers {
        let bytes = Zeroizing::new(number.to_be_bytes_trimmed_vartime().to_vec());
        // A leading bit would make it negative.
        let sign: &[u8] =
            if bytes.first().is_none_or(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        element(&mut body, 0x02, &[sign, &bytes]);
    }
    let mut der = Zeroizing::new(Vec::new());
    element(&mut der, 0x30, &[&body]);
    der
}

/// An element of DER (X.690, 8.1): tag, length, content.
fn element(into: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    into.push(tag);
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    if length < 0x80 {
        into.extend(significant.iter().rev().take(1).chain((length == 0).then_some(&0)));
    } else {
        into.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
        into.extend(significant);
    }
    parts.iter().for_each(|part| into.extend(*part));
}

/// Our dice in the form that the primes want.
struct Dice<'a>(&'a dyn Random);

impl TryRng for Dice<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

/// What is behind [`Random`] outside of tests is the system's generator.
impl TryCryptoRng for Dice<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::testing::SeededRandom;
    use ring::{
        rand::SystemRandom,
        signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents},
    };

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        for seed in 1..4 {
            let key = generate(&*SeededRandom::new(seed)).unwrap();
            let pair = RsaKeyPair::from_der(&private_der(&key.private).unwrap()).unwrap();
            let mut signature = vec![0; 256];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"text", &mut signature).unwrap();
            let part = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
            let public = RsaPublicKeyComponents { n: part(&key.n), e: part(&key.e) };
            let verify =
                |text: &[u8]| public.verify(&RSA_PKCS1_2048_8192_SHA256, text, &signature).is_ok();
            assert!(verify(b"text") && !verify(b"texs"));
            assert_eq!(part(&key.n).len(), 256);
        }
    }

    #[test]
    fn lengths_are_those_of_der() {
        let mut der = Vec::new();
        for length in [0, 1, 127, 128, 255, 256] {
            der.clear();
            element(&mut der, 4, &[&vec![7; length]]);
            let head: &[u8] = match length {
                0 => &[4, 0],
                1 => &[4, 1],
                127 => &[4, 127],
                128 => &[4, 0x81, 128],
                255 => &[4, 0x81, 255],
                _ => &[4, 0x82, 1, 0],
            };
            assert_eq!(&der[..der.len() - length], head);
        }
    }
}
