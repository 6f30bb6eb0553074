//! What expressions say of events.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

use contract::{
    clock::Timestamp,
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{EventId, Sequence},
};
use expression::{Failure, Filter, Program, Purpose, Subject, ordering_key};
use proptest::prelude::*;
use serde_json::{Value, json};

fn event(content_type: &str, payload: &[u8]) -> NewEvent {
    NewEvent {
        uri: "github/1/push".parse().unwrap(),
        direction: Direction::Incoming,
        audience: Audience::Subscriber("org_123".into()),
        origin: Origin::Source("github".into()),
        payload: payload.to_vec().into(),
        content_type: content_type.into(),
        headers: Headers(vec![
            ("X-GitHub-Event".into(), "push".into()),
            ("accept".into(), "a".into()),
            ("accept".into(), "b".into()),
        ]),
        idempotency_key: None,
        received_at: Timestamp(0),
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: Sequence(0),
    }
}

fn push() -> NewEvent {
    let payload = json!({
        "ref": "refs/heads/main",
        "size": 3,
        "ratio": 2.0,
        "forced": false,
        "big": u64::MAX,
        "nothing": null,
        "repository": {"name": "certes", "full-name": "acme/certes", "topics": ["rust", "events"]},
        "commits": [
            {"id": "a1", "message": "Fix the door", "added": ["src/door.rs"]},
            {"id": "b2", "message": "Say so", "added": ["docs/door.md", "README.md"]},
        ],
    });
    event("application/json", payload.to_string().as_bytes())
}

fn matches(source: &str, event: &NewEvent) -> Result<bool, Failure> {
    let filter = Filter::compile(source).unwrap_or_else(|why| panic!("{source}: {why}"));
    filter.matches(&Subject::new(event))
}

#[test]
fn filters_say_what_cel_says() {
    let event = push();
    let yes = [
        r#"event.ref == "refs/heads/main""#,
        r#"'refs/heads/main' == event["ref"]"#,
        r#"headers["x-github-event"] == "push""#,
        r#"headers.accept == "a, b""#,
        r#"type == "github/1/push" && source == "github" && subscriber == "org_123""#,
        r#"event.size == 3 && event.ratio == 2 && event.ratio == 2.0 && event.size < 3.5"#,
        r#"event.forced == false && !event.forced"#,
        r#"event.size in [1, 2, 3]"#,
        r#"event.repository.topics == ["rust", "events"]"#,
        r#""rust" in event.repository.topics && "name" in event.repository"#,
        r#"event.repository["full-name"].startsWith("acme/")"#,
        r#"event.ref.matches("^refs/(heads|tags)/main$")"#,
        r#"event.commits.exists(c, c.added.exists(f, f.endsWith(".md")))"#,
        r#"event.commits.all(c, size(c.id) == 2) && size(event.commits) == 2"#,
        r#"has(event.repository.name) && !has(event.deleted)"#,
        r#"has(event.deleted) || event.ref == "refs/heads/main""#,
        r#"event.commits[1].id == "b2""#,
        r#"event.nothing == null"#,
        r#"event.big == 18446744073709551615u"#,
        r#"event.repository.map(k, k).size() == 3"#,
        r#"event.commits.map(c, c.id).join("+") == "a1+b2""#,
        r#"event.commits[0] == {"id": "a1", "message": "Fix the door", "added": ["src/door.rs"]}"#,
        "event.ref.contains('&&') == false",
    ];
    for source in yes {
        assert_eq!(matches(source, &event), Ok(true), "{source}");
    }
    let no = [
        r#"event.ref == "refs/heads/dev""#,
        r#"event.ref == 3"#,
        r#"event.size == "3""#,
        r#"event.ref != "refs/heads/main""#,
        r#"event.deleted == true"#,
        r#"event.deleted != true"#,
        r#"event.repository.name.first == "x""#,
        r#"headers["x-gitlab-event"] == "push""#,
        r#"event.size in [1, 2]"#,
        r#"event.ref == "refs/heads/main" && event.size > 3"#,
        r#"event.big == 1"#,
    ];
    for source in no {
        assert_eq!(matches(source, &event), Ok(false), "{source}");
    }
    let wrong =
        [r#"event.ref + 1 == 2"#, r#"event.size.startsWith("x")"#, "event.size", "event.ref > 1"];
    for source in wrong {
        let error = matches(source, &event).unwrap_err();
        assert!(matches!(error, Failure::Error(_)), "{source}: {error:?}");
    }
    assert_eq!(matches("event.ref + 1 == 2 && event.size == 4", &event), Ok(false), "false wins");
}

#[test]
fn what_cannot_be_a_filter_is_refused_with_its_place() {
    let cases = [
        ("", "it is empty"),
        ("event.ref == ", "line 1, column "),
        (
            "event.ref == \"a\" &&\n evnt.ref == \"b\"",
            "line 2, column 2: `evnt` is not known; there are `event`, `headers`, `type`, `source` and `subscriber`",
        ),
        ("id == \"evt_\"", "`id` is not known"),
        ("event.ref", ""),
        ("\"text\"", "column 1: a condition is true or false, and this gives a text"),
        ("event.a == 1 && size(event.b)", "and this gives a number"),
        ("event.a == 1 || headers[\"x\"] + \"y\"", "and this gives a text"),
        ("headers[\"X-GitHub-Event\"] == \"push\"", "in lower case: `x-github-event`"),
        ("event.ref.frobnicate()", "there is no function `frobnicate`"),
        ("event.ref.format([1])", "there is no function `format`"),
        ("event.ref.matches(event.pattern)", "must be written out"),
        ("event.ref.matches(\"(\")", "is not one"),
        (
            "event.a.b.c.exists(a, a.exists(b, b.exists(c, c.exists(d, d == 1))))",
            "more than 3 loops",
        ),
    ];
    for (source, said) in cases {
        match Filter::compile(source) {
            Ok(_) => assert_eq!(said, "", "{source}"),
            Err(why) => {
                let why = why.to_string();
                assert!(!said.is_empty() && why.contains(said), "{source}: {why}");
            }
        }
    }
    let long = format!("event.ref == \"{}\"", "x".repeat(4_100));
    assert!(Filter::compile(&long).unwrap_err().text.contains("4096 bytes"));
    let deep = format!("{}event.a{}", "(".repeat(2_000), ")".repeat(2_000));
    Filter::compile(&deep).unwrap_err();
}

#[test]
fn other_payloads_are_read_or_say_why_not() {
    let form = event("application/x-www-form-urlencoded", b"payload=%7B%22ref%22%3A%22a+b%22%7D");
    assert_eq!(matches(r#"event.ref == "a b""#, &form), Ok(true));
    let none = event("application/x-www-form-urlencoded", b"other=1");
    assert_eq!(
        matches(r#"event.ref == "a""#, &none).unwrap_err().to_string(),
        "the form has no field `payload`"
    );
    let events = event("application/cloudevents+json; charset=utf-8", br#"{"a":1}"#);
    assert_eq!(matches("event.a == 1", &events), Ok(true));
    let binary = event("application/protobuf", &[8, 1]);
    assert!(matches!(matches("event.a == 1", &binary), Err(Failure::Unreadable(_))));
    assert_eq!(matches(r#"source == "github""#, &binary), Ok(true), "its headers can be told");
    assert_eq!(matches(r#"source == "gitlab" && event.a == 1"#, &binary), Ok(false));
    let broken = event("application/json", b"{");
    assert!(matches!(matches("has(event.a)", &broken), Err(Failure::Unreadable(_))));
}

/// Every way to make much of little ends at the meter, and in no time.
#[test]
fn what_costs_too_much_does_not_match() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let words: Vec<String> = (0..2_000).map(|n| format!("word {n}")).collect();
    let text = "x".repeat(4 << 20);
    let payload = json!({"numbers": numbers, "words": words, "text": text, "long": [text]});
    let event = event("application/json", payload.to_string().as_bytes());
    let fits = ["event.words.all(w, w.startsWith(\"word\"))", "size(event.numbers) == 20000"];
    for source in fits {
        assert_eq!(matches(source, &event), Ok(true), "{source}");
    }
    let costly = [
        "event.numbers.all(a, event.numbers.all(b, a == a && b == b))",
        "event.words.all(a, event.words.exists(b, a == b))",
        "event.numbers.map(a, a).map(b, b).all(c, c < 0 || c >= 0)",
        "[event.words].all(a, a.all(b, a.all(c, b == c || true)))",
        "event.words.map(w, w + w + w + w + w + w + w + w + w + w).size() > 0",
        // An error that is absorbed saves nothing.
        "event.numbers.all(a, event.numbers.all(b, a == b)) || true",
    ];
    // Loops in each other's range, each of which makes much more of what the one before made.
    let doubling = |made: &str| {
        (0..8).fold("[\"x\"]".to_owned(), |range, _| format!("{range}.map(a, {made})"))
            + ".size() > 0"
    };
    let texts = doubling(&["a"; 12].join(" + "));
    let lists = doubling(&format!("[{}]", ["a"; 12].join(", ")));
    for source in costly.into_iter().chain([texts.as_str(), lists.as_str()]) {
        let begun = std::time::Instant::now();
        assert_eq!(matches(source, &event), Err(Failure::TooCostly), "{source}");
        assert!(begun.elapsed().as_secs() < 5, "{source}: {:?}", begun.elapsed());
    }
    let many = "event.text.contains(\"y\") || ".repeat(100) + "event.text.contains(\"x\")";
    assert_eq!(matches(&many, &event), Err(Failure::TooCostly));
    assert!(matches(r#"event.long.exists(t, t.contains("y"))"#, &event).is_err());
    assert!(matches(r#"event.words.exists(w, event.text.contains(w))"#, &event).is_err());
}

#[test]
fn a_filter_explains_each_of_its_conditions() {
    let event = push();
    let filter = Filter::compile(
        r#"event.ref == "refs/heads/main" && (event.size > 5 || event.gone == 1) && headers["x-github-event"] == "a && b""#,
    );
    let told = filter.unwrap().explain(&Subject::new(&event));
    let told: Vec<_> = told.into_iter().map(|it| (it.source, it.holds.ok(), it.values)).collect();
    let value = |path: &str, value: Value| (path.to_owned(), Some(value));
    let expected = vec![
        (
            r#"event.ref == "refs/heads/main""#.to_owned(),
            Some(true),
            vec![value("event.ref", json!("refs/heads/main"))],
        ),
        (
            "(event.size > 5 || event.gone == 1)".to_owned(),
            None,
            vec![("event.gone".to_owned(), None), value("event.size", json!(3))],
        ),
        (
            r#"headers["x-github-event"] == "a && b""#.to_owned(),
            Some(false),
            vec![value("headers[\"x-github-event\"]", json!("push"))],
        ),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_body_is_made_of_an_event() {
    let event = push();
    let (id, subject) = (EventId::from_bytes([7; 16]), Subject::new(&event));
    let subject = subject.as_stored(id, Timestamp(1_795_224_556_000_000));
    let made = |source: &str| Program::compile(source, Purpose::Body).unwrap().evaluate(&subject);
    let body = made(
        r#"{"id": id, "at": time, "text": event.repository.name + ": " + string(event.size),
            "commits": event.commits.map(c, {"id": c.id, "all": c}), "repository": event.repository,
            "raw": b"ab", "nothing": null, "ratio": event.ratio}"#,
    );
    let commits = |n: usize| {
        let all: Value = serde_json::from_slice(&event.payload).unwrap();
        json!({"id": all["commits"][n]["id"], "all": all["commits"][n]})
    };
    let repository: Value =
        serde_json::from_slice::<Value>(&event.payload).unwrap()["repository"].clone();
    let expected = json!({
        "id": id.to_string(), "at": Timestamp(1_795_224_556_000_000).to_string(), "text": "certes: 3",
        "commits": [commits(0), commits(1)], "repository": repository, "raw": "YWI=",
        "nothing": null, "ratio": 2.0,
    });
    assert_eq!(body, Ok(expected));
    assert_eq!(made("[event.ref, event.size]"), Ok(json!(["refs/heads/main", 3])));
    assert_eq!(made("event.missing"), Err(Failure::Missing("missing".into())));
    assert!(matches!(made("event.ref"), Err(Failure::Error(_))));
    assert!(matches!(made("{1: 2}"), Err(Failure::Error(_))));
    let refused = Program::compile("\"text\"", Purpose::Body).unwrap_err();
    assert!(
        refused.text.contains("a body is an object or a list, and this gives a text"),
        "{refused}"
    );
    let numbers: Vec<u32> = (0..400).collect();
    let payload = json!({"n": numbers, "t": "x".repeat(16_000)});
    let large = self::event("application/json", payload.to_string().as_bytes());
    let subject = Subject::new(&large).as_stored(id, Timestamp(0));
    let program = Program::compile("event.n.map(n, event)", Purpose::Body).unwrap();
    assert_eq!(program.evaluate(&subject), Err(Failure::TooLarge));
}

/// The hash is stored: it is the same for ever.
#[test]
fn keys_are_hashed_by_what_they_say() {
    let event = push();
    let key = |source: &str| {
        let program = Program::compile(source, Purpose::Key).unwrap();
        ordering_key(&program.evaluate(&Subject::new(&event)))
    };
    assert_eq!(key("event.ref").0, 0xc0e6_7ecc_0bd5_5ecc);
    assert_eq!(key("[event.ref, source]"), key(r#"["refs/heads/main", "github"]"#));
    assert_ne!(key("event.size"), key("string(event.size)"));
    assert_eq!(key("event.missing"), key("event.also_missing"));
    assert_ne!(key("event.missing"), key("event.nothing"));
}

fn small() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        (-3_i64..4).prop_map(|n| json!(n as f64)),
        Just(json!(0.5)),
        prop_oneof![Just("a"), Just("b"), Just("1"), Just("true")].prop_map(Value::from),
        Just(json!([1])),
        Just(json!({"a": 1})),
    ]
}

proptest! {
    /// What is looked up without the interpreter is what the interpreter says: `(x == v) == true`
    /// is no equality that the filter knows how to look up.
    #[test]
    fn looking_up_is_as_good_as_running(
        value in small(),
        literal in prop_oneof![
            (-3_i64..4).prop_map(|n| n.to_string()),
            any::<bool>().prop_map(|b| b.to_string()),
            prop_oneof![Just("a"), Just("1"), Just("true")].prop_map(|text| format!("{text:?}")),
        ],
        listed: bool,
    ) {
        let event = event("application/json", json!({"x": value}).to_string().as_bytes());
        let plain = match listed {
            true => format!("event.x in [{literal}, \"zz\"]"),
            false => format!("event.x == {literal}"),
        };
        let filter = Filter::compile(&plain).unwrap();
        prop_assert!(filter.key().is_some());
        let run = Filter::compile(&format!("({plain}) == true")).unwrap();
        prop_assert!(run.key().is_none());
        let subject = Subject::new(&event);
        prop_assert_eq!(filter.matches(&subject), run.matches(&subject), "{} of {}", plain, value);
    }

    /// Nothing that somebody writes makes the compiler or a run panic.
    #[test]
    fn any_source_is_refused_or_runs(source in r#"(event|headers|type|size|[a-z.()\[\]{}"'=&|!<>+*?:,0-9 -]){0,24}"#) {
        if let Ok(filter) = Filter::compile(&source) {
            let event = push();
            let subject = Subject::new(&event);
            let explained = filter.explain(&subject);
            if filter.matches(&subject) == Ok(true) {
                prop_assert!(explained.iter().all(|it| it.holds == Ok(true)));
            }
        }
    }
}
