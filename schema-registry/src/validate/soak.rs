//! Random input for as long as wanted, for the compiler and for the validator. It looks for
//! panics, for input that takes too long, and for payloads that JSON and binary protobuf disagree
//! on. Run by `cargo xtask soak`, which sets the time and the seed.

use super::{
    Contract,
    tests::{NOW, contract_of},
};
use crate::{Config, compile::compile, testing::source};
use contract::schema::UnknownFields;
use prost_reflect::{DeserializeOptions, DynamicMessage, prost::Message as _};
use std::time::{Duration, Instant};

/// Longest that one input may take, in an unoptimised build on a busy machine.
const INPUT_TIME_MAX: Duration = Duration::from_secs(5);
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

const TYPES: [(&str, &str); 4] = [
    ("Everything", include_str!("../../test-data/everything.proto")),
    ("Order", include_str!("../../test-data/bench/ruled_order.proto")),
    ("Cel", include_str!("../../test-data/rules.proto")),
    ("Texts", include_str!("../../test-data/rules.proto")),
];
const PAYLOADS: [&str; 3] = [
    include_str!("../../test-data/bench/order.json"),
    r#"{"an_int32":1,"inner":{"names":["x"]},"counts":{"a":1},"any":{"@type":"t/Inner","name":"y"}}"#,
    r#"{"low":1,"high":2,"inner":[{"low":0}],"name":"A","counts":{"x":1},"email":"a@b","uri":"a:b"}"#,
];
/// What breaks parsers.
const PIECES: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\u0000",
    "\\ud800",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "0.1",
    "\u{7f}",
    "true",
    "{\"@type\":\"t/Inner\"}",
    "\"1e5\"",
    "(",
    ")",
    ";",
    "message X {",
    "repeated ",
    "option ",
    "[(buf.validate.field).string.pattern = '(a*)*']",
    "map<string, X>",
    "oneof o {",
    "this.all(x, x)",
    "9223372036854775808",
    "import 'x.proto';",
    "\u{feff}",
    "/*",
    "é😀",
];

/// Marsaglia's xorshift; the seed is printed, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % sides.max(1)
    }

    /// A few changes: bytes set, pieces put in, parts cut, doubled or taken from elsewhere.
    fn mutate(&mut self, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
        for _ in 0..=self.roll(6) {
            let at = self.roll(bytes.len() + 1);
            let end = (at + self.roll(24)).min(bytes.len());
            match self.roll(6) {
                0 if at < bytes.len() => bytes[at] = u8::try_from(self.roll(256)).unwrap_or(0),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let part = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, part));
                }
                3 => {
                    let from = self.roll(other.len());
                    let to = (from + self.roll(48)).min(other.len());
                    drop(bytes.splice(at..end, other[from..to].iter().copied()));
                }
                _ => {
                    let piece = PIECES[self.roll(PIECES.len())];
                    let times = if self.roll(50) == 0 { 2_000 } else { 1 };
                    drop(bytes.splice(at..at, piece.repeat(times).into_bytes()));
                }
            }
        }
        bytes
    }
}

#[derive(Debug, Default)]
struct Counts {
    compiled: u64,
    refused: u64,
    accepted: u64,
    violating: u64,
    binary: u64,
}

#[test]
fn soak() {
    let number = |name: &str, default: u64| {
        #[expect(clippy::disallowed_methods, reason = "how xtask says how long")]
        let value = std::env::var(name).ok();
        value.and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let (seconds, seed) = (number("CERTES_SOAK_SECONDS", 60), number("CERTES_SOAK_SEED", 1).max(1));
    eprintln!("soak: {seconds} s with seed {seed}");
    let contracts: Vec<_> =
        TYPES.iter().map(|(name, text)| contract_of(name, text, UnknownFields::Ignore)).collect();
    let (mut dice, mut counts) = (Dice(seed), Counts::default());
    let (started, mut shown) = (Instant::now(), Instant::now());
    while started.elapsed() < Duration::from_secs(seconds) {
        if dice.roll(20) == 0 {
            compile_one(&mut dice, &mut counts);
        } else {
            check_one(&contracts, &mut dice, &mut counts);
        }
        if shown.elapsed() > PROGRESS_EVERY {
            shown = Instant::now();
            eprintln!("soak: {} s of {seconds}, {counts:?}", started.elapsed().as_secs());
        }
    }
    eprintln!("soak: done, {counts:?}");
    assert!(counts.refused > 0 && counts.accepted > 0 && counts.violating > 0);
}

/// Fails, showing the input, if `work` panics or takes too long.
fn bounded<T>(input: &[u8], work: impl FnOnce() -> T) -> T {
    struct Shown<'i>(&'i [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("soak: failed on {:?}", String::from_utf8_lossy(self.0));
            }
        }
    }
    let shown = Shown(input);
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < INPUT_TIME_MAX, "took {:?}", started.elapsed());
    drop(shown);
    result
}

fn compile_one(dice: &mut Dice, counts: &mut Counts) {
    let (_, text) = TYPES[dice.roll(TYPES.len())];
    let (_, other) = TYPES[dice.roll(TYPES.len())];
    let text = String::from_utf8_lossy(&dice.mutate(text.into(), other.as_bytes())).into_owned();
    let result = bounded(text.as_bytes(), || {
        compile(&source("a/1/x", &[("a/1/x.proto", &text)]), &Config::default())
    });
    match result {
        Ok(_) => counts.compiled += 1,
        Err(error) => {
            counts.refused += 1;
            assert!(error.message.contains("a/1/x.proto"), "no place: {error}\n{text}");
        }
    }
}

fn check_one(contracts: &[Contract], dice: &mut Dice, counts: &mut Counts) {
    let contract = &contracts[dice.roll(contracts.len())];
    let payload = PAYLOADS[dice.roll(PAYLOADS.len())];
    let other = PAYLOADS[dice.roll(PAYLOADS.len())];
    let payload = dice.mutate(payload.into(), other.as_bytes());
    let json = bounded(&payload, || contract.check("application/json", &payload, NOW));
    drop(bounded(&payload, || contract.check("application/protobuf", &payload, NOW)));
    match json {
        Ok(()) => counts.accepted += 1,
        Err(_) => {
            counts.violating += 1;
            return;
        }
    }
    // What passes as JSON must pass as the same message in protobuf.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let text = std::str::from_utf8(&payload).unwrap();
    let mut json = serde_json::Deserializer::from_str(text);
    let message = contract.message.clone();
    let Ok(message) = DynamicMessage::deserialize_with_options(message, &mut json, &options) else {
        return;
    };
    let binary = message.encode_to_vec();
    let checked = bounded(&payload, || contract.check("application/protobuf", &binary, NOW));
    assert_eq!(checked, Ok(()), "JSON passes, binary does not: {text}");
    counts.binary += 1;
    let damaged = dice.mutate(binary, text.as_bytes());
    drop(bounded(&damaged, || contract.check("application/protobuf", &damaged, NOW)));
}
