//! Rules in CEL: what they can say, what is refused, and what they may cost.

use super::{NOW, contract, field, found, refused, table, violations};

#[test]
fn expressions() {
    let contract = contract(
        "message X {
            option (buf.validate.message).cel = {
                id: 'x.order', message: 'low is below high', expression: 'this.low <= this.high'
            };
            option (buf.validate.message).cel_expression = 'this.name.size() < 4';
            int32 low = 1;
            int32 high = 2 [(buf.validate.field).cel = {
                id: 'high', expression: \"this == 13 ? 'not 13' : ''\"
            }];
            string name = 3 [(buf.validate.field).cel = {
                id: 'name', expression: \"this.matches('^[a-z]*$')\"
            }];
            repeated X inner = 4 [(buf.validate.field).repeated.items.cel = {
                id: 'leaf', expression: 'this.inner.all(x, !has(x.name) && x.low == 0)'
            }];
            map<string, int32> counts = 5 [(buf.validate.field).cel = {
                id: 'counts', expression: \"!('a' in this) || this.a > 1\"
            }];
            google.protobuf.Timestamp at = 6 [(buf.validate.field).cel = {
                id: 'at', expression: \"this < now && this > timestamp('2000-01-01T00:00:00Z')\"
            }];
            google.protobuf.StringValue text = 7 [(buf.validate.field).cel = {
                id: 'text', expression: \"this == 'x'\"
            }];
        }",
    );
    found(&contract, "{}", &[]);
    found(&contract, r#"{"low": 3, "high": 2}"#, &[" x.order"]);
    found(&contract, r#"{"high": 13}"#, &["high high"]);
    found(&contract, r#"{"name": "A"}"#, &["name name"]);
    found(&contract, r#"{"name": "abcd"}"#, &[" this.name.size() < 4"]);
    found(&contract, r#"{"inner": [{"low": 1}]}"#, &["inner[0] x.order"]);
    found(&contract, r#"{"inner": [{"inner": [{"name": "a"}]}]}"#, &["inner[0] leaf"]);
    found(&contract, r#"{"counts": {"a": 1}}"#, &["counts counts"]);
    found(&contract, r#"{"counts": {"a": 2, "b": 0}}"#, &[]);
    found(&contract, r#"{"at": "2025-01-01T00:00:00Z"}"#, &[]);
    found(&contract, r#"{"at": "2027-01-01T00:00:00Z"}"#, &["at at"]);
    found(&contract, r#"{"text": "x"}"#, &[]);
    found(&contract, r#"{"text": "y"}"#, &["text text"]);
    let wrong_type = r#"{"low": "x", "inner": [{"low": 1}]}"#;
    let found = violations(&contract, "application/json", wrong_type.as_bytes());
    assert_eq!(found, ["low format"], "what is not of its type has no meaning to rules");
    let error = contract.check("application/json", br#"{"low": 3, "high": 13}"#, NOW).unwrap_err();
    let shown: Vec<_> = error.violations.iter().map(|it| (&*it.expected, &*it.found)).collect();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0], ("what `this == 13 ? 'not 13' : ''` asks for", "not 13"));
}

#[test]
fn functions_of_protovalidate() {
    for (expression, good, bad) in [
        ("this.isEmail()", "a@b", "a"),
        ("this.isHostname()", "a.b", "a_b"),
        ("this.isIp()", "::1", "a"),
        ("this.isIp(4)", "1.2.3.4", "::1"),
        ("this.isIp(6)", "::1", "1.2.3.4"),
        ("this.isIpPrefix()", "1.2.3.4/8", "1.2.3.4"),
        ("this.isIpPrefix(true)", "1.0.0.0/8", "1.2.3.4/8"),
        ("this.isIpPrefix(4, true)", "1.0.0.0/8", "::/8"),
        ("this.isUri()", "a:b", "a"),
        ("this.isUriRef()", "a", "a b"),
        ("this.isHostAndPort(true)", "a:1", "a"),
        ("this.isHostAndPort(false)", "a", "a:b"),
        ("this.startsWith('a') && this.lowerAscii() == this", "ab", "aB"),
        ("size(this) == 2", "äö", "a"),
    ] {
        let options =
            format!("(buf.validate.field).cel = {{id: 'it', expression: {expression:?}}}");
        let contract = field("optional string", &options);
        table(&contract, "it", &[&format!("{good:?}")], &[&format!("{bad:?}")]);
    }
    let unique = field(
        "repeated int32",
        "(buf.validate.field).cel = {id: 'it', expression: 'this.unique()'}",
    );
    table(&unique, "it", &["[1, 2]", "[]"], &["[1, 1]"]);
    let number = field(
        "double",
        "(buf.validate.field).cel = {id: 'it', expression: '!this.isNan() && !this.isInf(1)'}",
    );
    table(&number, "it", &["1", "\"-Infinity\""], &["\"NaN\"", "\"Infinity\""]);
}

#[test]
fn loops_are_bounded() {
    let body = "message X { repeated int32 n = 1; option (buf.validate.message).cel = {
        id: 'pairs', expression: 'this.n.all(a, this.n.exists_one(b, a == b))' }; }";
    let contract = contract(body);
    let numbers = |count: usize| format!("{{\"n\": {:?}}}", (0..count).collect::<Vec<_>>());
    found(&contract, &numbers(100), &[]);
    found(&contract, &numbers(501), &[" pairs"]);
    let error = contract.check("application/json", numbers(100_000).as_bytes(), NOW).unwrap_err();
    assert!(error.violations[0].found.contains("at most 500"), "{error:?}");
}

#[test]
fn expressions_that_cannot_work_are_refused() {
    for (body, expected) in [
        (
            "message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'this >'}]; }",
            "X.f: cel `a`: ",
        ),
        (
            "message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'this'}]; }",
            "not a bool or a string",
        ),
        (
            "message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'that > 1'}]; }",
            "`that` is not known",
        ),
        (
            "message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'this.size() > 1'}]; }",
            "no matching overload",
        ),
        (
            "message X { option (buf.validate.message).cel = {id: 'a', expression: 'this.g > 1'}; int32 f = 1; }",
            "X.g",
        ),
        (
            "message X { string f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'this.matches(this)'}]; }",
            "must be written out",
        ),
        (
            "message X { repeated int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'this.all(a, this.all(b, this.all(c, true)))'}]; }",
            "loops inside each other",
        ),
        (
            "message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a', expression: 'fetch(this)'}]; }",
            "no function `fetch`",
        ),
        ("message X { int32 f = 1 [(buf.validate.field).cel = {id: 'a'}]; }", "no expression"),
    ] {
        refused(body, expected);
    }
}

#[test]
fn messages_can_be_compared() {
    let contract = contract(
        "message In { int32 n = 1; optional string s = 2; In in = 3; map<string, int32> m = 4;
                      repeated In list = 5; double d = 6; }
        message X {
            option (buf.validate.message).cel = {id: 'same', expression: 'this.a == this.b'};
            option (buf.validate.message).cel = {
                id: 'listed', expression: 'this.list.size() == 0 || this.a in this.list'
            };
            option (buf.validate.message).cel = {id: 'unique', expression: 'this.list.unique()'};
            In a = 1; In b = 2; repeated In list = 3;
        }",
    );
    for part in [
        "{}",
        r#"{"n": 1, "s": ""}"#,
        r#"{"in": {"in": {"n": 2}}, "m": {"a": 1, "b": 2}, "list": [{"n": 1}, {}], "d": 1.5}"#,
    ] {
        found(&contract, &format!(r#"{{"a": {part}, "b": {part}, "list": [{part}]}}"#), &[]);
    }
    found(&contract, "{}", &[]);
    for (a, b) in [
        (r#"{"n": 1}"#, r#"{"n": 2}"#),
        (r#"{"s": ""}"#, "{}"),
        (r#"{"in": {}}"#, "{}"),
        (r#"{"in": {"in": {"n": 1}}}"#, r#"{"in": {"in": {}}}"#),
        (r#"{"m": {"a": 1}}"#, r#"{"m": {"a": 2}}"#),
        (r#"{"list": [{}, {"n": 1}]}"#, r#"{"list": [{"n": 1}, {}]}"#),
        (r#"{"d": "NaN"}"#, r#"{"d": "NaN"}"#),
    ] {
        found(&contract, &format!(r#"{{"a": {a}, "b": {b}}}"#), &[" same"]);
    }
    found(&contract, r#"{"list": [{"n": 1}, {"n": 1}]}"#, &[" listed", " unique"]);
}

#[test]
fn comparing_messages_is_bounded() {
    let contract = contract(
        "message In { int32 n = 1; In in = 2; }
        message X {
            repeated In list = 1;
            option (buf.validate.message).cel = {
                id: 'pairs', expression: 'this.list.all(a, this.list.all(b, a == b))'
            };
            option (buf.validate.message).cel = {
                id: 'none', expression: 'this.list.all(a, this.list.all(b, a != b || true))'
            };
        }",
    );
    let list = |depth: usize| {
        let one = format!("{}{{\"n\":1}}{}", "{\"in\":".repeat(depth), "}".repeat(depth));
        format!("{{\"list\":[{}]}}", vec![one; 150].join(","))
    };
    let started = std::time::Instant::now();
    let error = contract.check("application/json", list(30).as_bytes(), NOW).unwrap_err();
    assert!(error.violations[0].found.contains("compared fields"), "{error:?}");
    assert!(started.elapsed().as_secs() < 30);
    let few = r#"{"list": [{"n": 1}, {"n": 1}]}"#;
    found(&contract, few, &[]);
}

#[test]
fn hostile_expressions_are_refused() {
    let long = format!("this > {}1", "0 + ".repeat(2_000));
    refused(
        &format!(
            "message X {{ int32 f = 1 [(buf.validate.field).cel = {{id: 'a', expression: '{long}'}}]; }}"
        ),
        "longer than",
    );
    for deep in [
        format!("{}this{} > 1", "(".repeat(2_000), ")".repeat(2_000)),
        format!("{}1{} == this", "[".repeat(2_000), "]".repeat(2_000)),
        format!("{}this > 1", "0 + ".repeat(1_000)),
        format!("{}true", "this > 1 ? true : ".repeat(220)),
        format!("this{} > 1", ".f".repeat(2_000)),
    ] {
        let started = std::time::Instant::now();
        refused(
            &format!(
                "message X {{ int32 f = 1 [(buf.validate.field).cel = {{
                    id: 'a', expression: '{deep}'
                }}]; }}"
            ),
            "cel `a`",
        );
        assert!(started.elapsed().as_secs() < 10, "{}", &deep[..10]);
    }
}

/// Python reads such a number as a double, and loses the last digit; we do not, in any notation.
#[test]
fn whole_numbers_of_64_bits_are_exact_in_every_notation() {
    let contract = contract(
        "message X {
            option (buf.validate.message).cel = {
                id: 'exact', expression: 'this.a == 9007199254740993 && this.b == 9007199254740993u'
            };
            int64 a = 1;
            google.protobuf.UInt64Value b = 2;
            repeated int64 c = 3 [(buf.validate.field).repeated.unique = true];
        }",
    );
    for number in [
        "9007199254740993",
        "9007199254740993e0",
        "900719925474099.3E+1",
        "9007199254740993.0",
        "\"9007199254740993\"",
        "\"9007199254740993e0\"",
        "\"+09007199254740993.0\"",
    ] {
        let json =
            format!(r#"{{"a": {number}, "b": {number}, "c": [9007199254740992, {number}]}}"#);
        let checked = contract.check("application/json", json.as_bytes(), NOW);
        assert_eq!(checked, Ok(()), "{json}");
    }
    let json = br#"{"a": 9007199254740992e0, "b": 9007199254740993e0}"#;
    assert!(contract.check("application/json", json, NOW).is_err());
}
