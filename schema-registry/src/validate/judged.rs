//! Our verdicts against those of implementations that are not ours: the protobuf runtime of Python
//! and protovalidate, asked through `tests/judge.py`. Run by `cargo xtask test --all`.
//!
//! Where we differ on purpose, `test-data/judged/differences.json` lists the payloads and says why;
//! a difference that is not listed fails, and so does a listed one that is gone.

use super::{
    Contract,
    tests::{NOW, contract_of},
};
use contract::schema::UnknownFields;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

const EVERYTHING: &str = include_str!("../../test-data/everything.proto");
const RULES: &str = include_str!("../../test-data/rules.proto");
const PREDEFINED: &str = include_str!("../../test-data/predefined.proto");

/// What a judge is asked.
#[derive(Debug, Clone, Serialize)]
struct Question {
    file: &'static str,
    message: String,
    reject_unknown: bool,
    rules: bool,
    json: String,
}

/// What it says.
#[derive(Debug, Deserialize)]
struct Verdict {
    accepted: bool,
    #[serde(default)]
    why: String,
    /// Paths and rules.
    #[serde(default)]
    broken: Vec<(String, String)>,
}

/// Payloads that we judge otherwise, and the reason.
#[derive(Debug, Deserialize)]
struct Difference {
    because: String,
    we_accept: bool,
    payloads: Vec<String>,
}

fn ask(questions: &[Question]) -> Vec<Verdict> {
    #[expect(clippy::disallowed_methods, reason = "how xtask tells where the judges are")]
    let python = std::env::var("CERTES_TEST_PYTHON").expect("`cargo xtask test --all` sets it");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut judge = Command::new(python)
        .arg(dir.join("tests/judge.py"))
        .args([dir.join("test-data"), dir.join("proto")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = judge.stdin.take().unwrap();
    let lines: String =
        questions.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let verdicts: Vec<Verdict> = BufReader::new(judge.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    writer.join().unwrap();
    assert!(judge.wait().unwrap().success());
    assert_eq!(verdicts.len(), questions.len());
    verdicts
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-data/judged").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The payloads of the file, and each odd value in each field, alone, in a list and in a map.
fn payloads(contract: &Contract) -> Vec<String> {
    let mut payloads: Vec<String> = read("mapping.json");
    let odd: Vec<Value> =
        serde_json::from_str(include_str!("../../test-data/odd-values.json")).unwrap();
    for field in contract.message.fields() {
        for value in &odd {
            payloads.push(json!({ field.json_name(): value }).to_string());
            payloads.push(json!({ field.name(): [value] }).to_string());
            payloads.push(json!({ field.name(): {"1": value} }).to_string());
        }
    }
    payloads
}

/// Our verdict: the violations, or what is malformed.
fn ours(contract: &Contract, json: &str) -> Result<(), Vec<(String, String)>> {
    contract.check("application/json", json.as_bytes(), NOW).map_err(|error| {
        let mut found: Vec<_> =
            error.violations.into_iter().map(|found| (found.path, found.rule)).collect();
        if found.is_empty() {
            found.push((String::new(), error.message));
        }
        found.sort();
        found
    })
}

#[test]
fn the_json_mapping_is_that_of_the_protobuf_runtime() {
    let mut differences: BTreeMap<String, (bool, String)> = BTreeMap::new();
    for Difference { because, we_accept, payloads } in read::<Vec<Difference>>("differences.json") {
        for payload in payloads {
            differences.insert(payload, (we_accept, because.clone()));
        }
    }
    let (mut compared, mut accepted) = (0, 0);
    let mut unexpected = Vec::new();
    let mut met = BTreeSet::new();
    for unknown_fields in [UnknownFields::Reject, UnknownFields::Ignore] {
        let contract = contract_of("Everything", EVERYTHING, unknown_fields);
        let reject_unknown = unknown_fields == UnknownFields::Reject;
        let question = |json: String| Question {
            file: "everything.proto",
            message: "Everything".to_owned(),
            reject_unknown,
            rules: false,
            json,
        };
        let questions: Vec<_> = payloads(&contract).into_iter().map(question).collect();
        for (question, theirs) in questions.iter().zip(ask(&questions)) {
            let ours = ours(&contract, &question.json);
            compared += 1;
            accepted += usize::from(theirs.accepted);
            if ours.is_ok() == theirs.accepted {
                continue;
            }
            met.insert(question.json.clone());
            let listed = differences.get(&question.json);
            if listed.is_none_or(|(we_accept, _)| *we_accept != ours.is_ok()) {
                let text = json!({
                    "payload": question.json, "reject_unknown": reject_unknown,
                    "ours": ours.err(), "theirs": theirs.why,
                });
                unexpected.push(text.to_string());
            }
        }
    }
    assert!(
        unexpected.is_empty(),
        "{} of {compared}:\n{}",
        unexpected.len(),
        unexpected.join("\n")
    );
    let gone: Vec<_> = differences.keys().filter(|payload| !met.contains(*payload)).collect();
    assert!(gone.is_empty(), "no difference any more: {gone:?}");
    assert!(compared >= 300 && accepted >= 100, "{compared} compared, {accepted} accepted");
    println!("{compared} payloads, {accepted} accepted, {} differences on purpose", met.len());
}

#[test]
fn rules_are_those_of_protovalidate() {
    agree_on_rules(("rules.proto", RULES), "rules.json", 60);
}

#[test]
fn predefined_rules_and_comparisons_are_those_of_protovalidate() {
    agree_on_rules(("predefined.proto", PREDEFINED), "predefined.json", 60);
}

/// Paths and rules are the same for each payload of a file: `[message, payload]`.
fn agree_on_rules((file, text): (&'static str, &str), vectors: &str, count_min: usize) {
    let vectors: Vec<(String, String)> = read(vectors);
    let question = |(message, json): (String, String)| Question {
        file,
        message,
        reject_unknown: true,
        rules: true,
        json,
    };
    let questions: Vec<_> = vectors.into_iter().map(question).collect();
    let mut contracts = BTreeMap::new();
    let mut wrong = Vec::new();
    let verdicts = ask(&questions);
    let accepted = verdicts.iter().filter(|verdict| verdict.accepted).count();
    for (question, theirs) in questions.iter().zip(verdicts) {
        let contract = contracts
            .entry(question.message.clone())
            .or_insert_with_key(|message| contract_of(message, text, UnknownFields::Reject));
        let ours = ours(contract, &question.json).err().unwrap_or_default();
        // It has ids of their own for the empty text, and our paths are those of the payload.
        let plain = |(path, rule): (String, String)| {
            let rule = rule.strip_suffix("_empty").map(str::to_owned).unwrap_or(rule);
            (path.replace('_', "").to_lowercase(), rule)
        };
        let ours: BTreeSet<_> = ours.into_iter().map(plain).collect();
        let broken: BTreeSet<_> = theirs.broken.into_iter().map(plain).collect();
        if ours != broken {
            wrong.push(format!(
                "{} {}\n  ours {ours:?}\n  theirs {broken:?} {}",
                question.message, question.json, theirs.why
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), questions.len(), wrong.join("\n"));
    assert!(questions.len() >= count_min && accepted >= 20, "{accepted} of {}", questions.len());
    println!("{} payloads with rules, {accepted} accepted, no difference", questions.len());
}
