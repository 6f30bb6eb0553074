//! Payloads that are made to cost: each must be answered soon, and with bounded reports.

use super::{
    Contract,
    tests::{NOW, contract_of},
};
use contract::{Error, ErrorCode, Result, limits::VIOLATIONS_MAX, schema::UnknownFields};
use std::time::{Duration, Instant};

/// Far above what any of them takes (milliseconds, optimised), far below what a blow-up would.
const DEADLINE: Duration = Duration::from_secs(10);
const MEGABYTE: usize = 1 << 20;

fn everything() -> Contract {
    let text = include_str!("../../test-data/everything.proto");
    contract_of("Everything", text, UnknownFields::Ignore)
}

/// With every kind of rule, on a type that contains itself.
fn ruled() -> Contract {
    let text = "syntax = 'proto3'; import 'buf/validate/validate.proto';
        import 'google/protobuf/any.proto';
        message X {
            option (buf.validate.message).cel = {
                id: 'pairs', expression: 'this.tags.all(a, this.tags.exists_one(b, a == b))'
            };
            repeated string tags = 1 [(buf.validate.field).repeated = {
                unique: true, items: {string: {max_len: 100, pattern: '^(a+)+$'}}
            }];
            X inner = 2;
            repeated X inners = 3;
            string text = 4 [(buf.validate.field).cel = {
                id: 'text', expression: \"!this.contains('x') && !this.matches('(a*)*b')\"
            }];
            map<string, int32> counts = 5 [(buf.validate.field).cel = {
                id: 'counts', expression: 'this.all(k, this[k] > 0)'
            }];
            google.protobuf.Any any = 6;
        }";
    contract_of("X", text, UnknownFields::Ignore)
}

#[track_caller]
fn check(contract: &Contract, payload: impl AsRef<[u8]>) -> Result<()> {
    let started = Instant::now();
    let result = contract.check("application/json", payload.as_ref(), NOW);
    assert!(started.elapsed() < DEADLINE, "took {:?}", started.elapsed());
    if let Err(error) = &result {
        assert!(error.violations.len() <= VIOLATIONS_MAX);
        let shown = |text: &str| text.len() < 4 * 1024;
        let mut found = error.violations.iter();
        assert!(found.all(|it| shown(&it.found) && shown(&it.expected)));
    }
    result
}

fn rules(result: Result<()>) -> Vec<String> {
    let error: Error = result.unwrap_err();
    assert_eq!(error.code, ErrorCode::ContractViolation, "{error}");
    error.violations.into_iter().map(|found| found.rule).collect()
}

fn is_malformed(result: &Result<()>) -> bool {
    matches!(result, Err(error) if error.code == ErrorCode::MalformedPayload)
}

#[test]
fn deep_nesting() {
    for contract in [everything(), ruled()] {
        for open in ["[", "{\"a\":", "{\"inner\":", "{\"inners\":[", "[{\"a\":"] {
            assert!(check(&contract, open.repeat(5 * MEGABYTE / open.len())).is_err());
        }
        let deep =
            |depth: usize| format!("{}{{}}{}", "{\"inner\":".repeat(depth), "}".repeat(depth));
        assert_eq!(check(&contract, deep(50)), Ok(()));
        assert_eq!(rules(check(&contract, deep(100_000))), ["depth"]);
        let any = "{\"@type\":\"t/google.protobuf.Any\",\"value\":";
        let any = format!("{{\"any\":{}{{}}{}}}", any.repeat(50_000), "}".repeat(50_000));
        assert!(check(&contract, any).is_err());
    }
}

#[test]
fn huge_numbers() {
    let contract = everything();
    let digits = "9".repeat(2 * MEGABYTE);
    for field in ["anInt64", "aDouble", "nope", "anything"] {
        for number in [
            digits.clone(),
            format!("-{digits}"),
            format!("0.{digits}"),
            format!("1e{digits}"),
            format!("1e-{digits}"),
            format!("\"{digits}\""),
            format!("\"1e{digits}\""),
        ] {
            drop(check(&contract, format!("{{\"{field}\":{number}}}")));
        }
    }
    assert_eq!(rules(check(&contract, format!("{{\"anInt64\":\"{digits}\"}}"))), ["range"]);
    assert_eq!(rules(check(&contract, "{\"anInt32\":\"1e999999999\"}")), ["range"]);
}

#[test]
fn keys_that_repeat_or_collide() {
    let contract = everything();
    let many = |key: &dyn Fn(usize) -> String| {
        let pairs: Vec<_> = (0..200_000).map(|n| format!("\"{}\":1", key(n))).collect();
        format!("{{\"counts\":{{{}}}}}", pairs.join(","))
    };
    assert_eq!(check(&contract, many(&|n| format!("k{n}"))), Ok(()));
    let same = rules(check(&contract, many(&|_| "k".to_owned())));
    assert_eq!(same, vec!["duplicate_key"; VIOLATIONS_MAX]);
    let fields = "\"anInt32\":1,".repeat(200_000);
    assert_eq!(
        rules(check(&contract, format!("{{{fields}\"aBool\":true}}"))).len(),
        VIOLATIONS_MAX
    );
}

#[test]
fn texts() {
    let contract = everything();
    let escapes = |escape: &str| format!("{{\"aString\":\"{}\"}}", escape.repeat(MEGABYTE / 3));
    assert_eq!(check(&contract, escapes("\\u00e9")), Ok(()));
    assert_eq!(check(&contract, escapes("\\ud83d\\ude00")), Ok(()));
    assert!(is_malformed(&check(&contract, escapes("\\ud83d"))));
    assert!(is_malformed(&check(&contract, escapes("\\"))));
    assert!(is_malformed(&check(&contract, "\"".repeat(5 * MEGABYTE))));
    let mut invalid = escapes("a").into_bytes();
    for bytes in [b"\xff".as_slice(), b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        invalid[100..100 + bytes.len()].copy_from_slice(bytes);
        assert!(is_malformed(&check(&contract, &invalid)), "{bytes:x?}");
    }
    let key = "k".repeat(4 * MEGABYTE);
    assert_eq!(check(&contract, format!("{{\"{key}\":1}}")), Ok(()));
    assert_eq!(rules(check(&contract, format!("{{\"counts\":{{\"{key}\":\"x\"}}}}"))), ["format"]);
    let white = " ".repeat(5 * MEGABYTE);
    assert_eq!(check(&contract, format!("{white}{{}}{white}")), Ok(()));
}

#[test]
fn arrays_of_thousands() {
    let contract = everything();
    let list = |field: &str, element: &str| {
        let elements = vec![element; 2 * MEGABYTE / (element.len() + 1)].join(",");
        format!("{{\"{field}\":[{elements}]}}")
    };
    assert_eq!(check(&contract, list("inners", r#"{"name":"abc","names":["x","y"]}"#)), Ok(()));
    assert_eq!(check(&contract, list("things", r#"{"a":[1,null,"x"]}"#)), Ok(()));
    assert_eq!(rules(check(&contract, list("inners", "1"))).len(), VIOLATIONS_MAX);
    let any = r#"{"@type":"t/Inner","name":"x"}"#;
    assert_eq!(check(&contract, list("anys", any)), Ok(()));
}

#[test]
fn rules_on_large_payloads() {
    let contract = ruled();
    let tags = |count: usize| {
        let tags: Vec<_> = (0..count).map(|n| format!("\"{}\"", "a".repeat(n % 90 + 1))).collect();
        format!("{{\"tags\":[{}]}}", tags.join(","))
    };
    assert_eq!(check(&contract, tags(90)), Ok(()));
    let found = rules(check(&contract, tags(50_000)));
    assert!(found.contains(&"pairs".to_owned()) && found.contains(&"repeated.unique".to_owned()));
    let text = "a".repeat(2 * MEGABYTE);
    assert_eq!(check(&contract, format!("{{\"text\":\"{text}\"}}")), Ok(()));
    assert!(check(&contract, format!("{{\"tags\":[\"{text}!\"]}}")).is_err());
    let counts: Vec<_> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
    let counts = format!("{{\"counts\":{{{}}}}}", counts.join(","));
    assert_eq!(rules(check(&contract, counts)), ["counts"], "a loop takes so many pairs only");
    let inner = format!("{{\"tags\":[\"a\"],\"text\":\"{}\"}}", "b".repeat(200));
    let inners = vec![inner; 5_000].join(",");
    assert_eq!(rules(check(&contract, format!("{{\"inners\":[{inners}]}}"))).len(), VIOLATIONS_MAX);
}

#[test]
fn binary_bombs() {
    let contract = everything();
    let started = Instant::now();
    let nested = |depth: usize| {
        // Field 2 of Inner holds an Inner, as deep as a length of four bytes allows.
        (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = vec![0x12];
            let mut length = inner.len();
            while length >= 0x80 {
                outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            outer.push(u8::try_from(length).unwrap());
            outer.extend(inner);
            outer
        })
    };
    let payloads =
        [nested(5_000), vec![0x0a; MEGABYTE], vec![0xff; MEGABYTE], vec![0x7b; MEGABYTE]];
    for payload in payloads {
        assert!(contract.check("application/protobuf", &payload, NOW).is_err());
    }
    assert!(started.elapsed() < DEADLINE);
}
