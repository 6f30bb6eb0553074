//! Rules that others define as extensions.

use super::{NOW, found, refused};
use crate::{Config, compile::compile, testing::source, validate::tests::contract_of};
use contract::schema::UnknownFields;

fn extended(extensions: &str, body: &str) -> String {
    format!(
        "syntax = 'proto2'; import 'buf/validate/validate.proto';
        import 'google/protobuf/timestamp.proto'; {extensions} {body}"
    )
}

#[test]
fn predefined_rules() {
    let text = extended(
        "extend buf.validate.Int32Rules {
            optional bool odd = 1800 [(buf.validate.predefined).cel = {
                id: 'int32.odd', message: 'an odd number', expression: '!rule || this % 2 == 1'
            }];
            repeated int32 multiples = 1801 [(buf.validate.predefined).cel = {
                id: 'int32.multiples', expression: 'rule.all(it, this % it == 0)'
            }];
        }
        extend buf.validate.StringRules {
            optional uint64 words = 1800 [(buf.validate.predefined).cel = {
                id: 'string.words',
                expression: \"this.contains(' ') || uint(1) >= rule ? '' : 'too few words'\"
            }];
            optional bool plain = 1801 [(buf.validate.predefined).cel = {
                id: 'string.plain', expression: \"this.matches('^[a-z ]*$') && rules.max_len > 0u\"
            }];
        }
        extend buf.validate.RepeatedRules {
            optional int32 sum = 1800 [(buf.validate.predefined).cel = {
                id: 'repeated.sum', expression: 'this.size() == 0 || this[0] <= rule'
            }];
        }
        extend buf.validate.TimestampRules {
            optional google.protobuf.Timestamp since = 1800 [(buf.validate.predefined).cel = {
                id: 'timestamp.since', expression: 'this >= rule'
            }];
        }",
        "message X {
            optional int32 odd = 1 [(buf.validate.field).int32 = {[odd]: true, lt: 10}];
            optional int32 both = 2 [(buf.validate.field).int32 = {[multiples]: [2, 3]}];
            optional string text = 3 [(buf.validate.field).string = {[words]: 2, [plain]: true, max_len: 9}];
            repeated int32 list = 4 [(buf.validate.field).repeated = {
                [sum]: 5, items: {int32: {[odd]: true}}
            }];
            map<string, int32> map = 5 [(buf.validate.field).map.values.int32.(odd) = true];
            optional google.protobuf.Timestamp at = 6 [
                (buf.validate.field).timestamp.(since) = {seconds: 100}
            ];
            optional int32 lax = 7 [
                (buf.validate.field).ignore = IGNORE_IF_ZERO_VALUE,
                (buf.validate.field).int32.(odd) = true
            ];
        }",
    );
    let contract = contract_of("X", &text, UnknownFields::Reject);
    found(&contract, "{}", &[]);
    found(&contract, r#"{"odd": 3, "both": 12, "text": "a b", "list": [5, 7], "lax": 0}"#, &[]);
    found(&contract, r#"{"odd": 12}"#, &["odd int32.lt", "odd int32.odd"]);
    found(&contract, r#"{"both": 4, "lax": 2}"#, &["both int32.multiples", "lax int32.odd"]);
    found(&contract, r#"{"text": "a"}"#, &["text string.words"]);
    found(&contract, r#"{"text": "A B"}"#, &["text string.plain"]);
    found(&contract, r#"{"list": [7, 2]}"#, &["list repeated.sum", "list[1] int32.odd"]);
    found(&contract, r#"{"map": {"a": 2}}"#, &["map.a int32.odd"]);
    found(&contract, r#"{"at": "1970-01-01T00:00:01Z"}"#, &["at timestamp.since"]);
    let error = contract.check("application/json", br#"{"odd": 2}"#, NOW).unwrap_err();
    assert_eq!(error.violations[0].expected, "an odd number");
}

#[test]
fn predefined_rules_that_cannot_work_are_refused() {
    let field = "message X { optional int32 f = 1 [(buf.validate.field).int32.(odd) = true]; }";
    for (option, expected) in [
        ("", "lacks the option `(buf.validate.predefined)`"),
        ("[(buf.validate.predefined).cel = {id: 'a', expression: 'this > rule'}]", "int32.(odd)"),
        ("[(buf.validate.predefined).cel = {id: 'a', expression: 'this > that'}]", "`that`"),
        ("[(buf.validate.predefined).cel = {id: 'a', expression: 'this ='}]", "cel `a`"),
    ] {
        let extension =
            format!("extend buf.validate.Int32Rules {{ optional bool odd = 1800 {option}; }}");
        let text = extended(&extension, field);
        let error = compile(&source("a/1/x", &[("a/1/x.proto", &text)]), &Config::default());
        let error = error.map(|_| ()).unwrap_err();
        assert!(
            error.message.contains("X.f: int32") && error.message.contains(expected),
            "{error}"
        );
    }
    refused(
        "message X { int32 f = 1 [(buf.validate.field).cel_expression = 'this > rule']; }",
        "`rule` is not known",
    );
}
