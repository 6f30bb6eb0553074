//! Contracts on the command line, word for word as the documents say.

use crate::process::{Process, certes, printed};
use std::{path::Path, process::Output};

/// A server, and a directory with the contract `shop/1/paid`.
struct Shop {
    dir: tempfile::TempDir,
    _server: Process,
}

impl Shop {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("contracts/shop/1")).unwrap();
        let _server = Process::serve(dir.path());
        Self { dir, _server }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        certes(self.path(), args)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join("contracts/shop/1").join(name), text).unwrap();
    }

    fn contract(&self, fields: &str) {
        self.write("paid.proto", &format!("syntax = 'proto3'; message Paid {{ {fields} }}"));
    }

    /// Makes `ledger` need the contract.
    fn subscribe(&self) {
        let manifest =
            "subscriptions: [{name: ledger, url: 'https://example.com/', events: ['shop/1/paid']}]";
        std::fs::write(self.path().join("certes.yaml"), manifest).unwrap();
        printed(&self.run(&["apply", "-f", "certes.yaml"]));
    }
}

#[test]
fn a_contract_is_checked_published_and_explained() {
    let shop = Shop::open();
    shop.contract("int64 cents = 1;");
    shop.write("paid.example.json", r#"{"cents": "12"}"#);
    let checked = printed(&shop.run(&["schema", "check", "contracts"]));
    assert_eq!(checked, "would be published shop/1/paid 1.0\n");
    let published = printed(&shop.run(&["schema", "publish", "contracts"]));
    assert_eq!(published, "published shop/1/paid 1.0\n");
    let tar = ["-C", "contracts", "-czf", "contracts.tgz", "."];
    let packed =
        std::process::Command::new("tar").args(tar).current_dir(shop.path()).status().unwrap();
    assert!(packed.success());
    let again = printed(&shop.run(&["schema", "publish", "contracts.tgz"]));
    assert_eq!(again, "unchanged shop/1/paid 1.0\n");

    shop.subscribe();
    shop.contract("string cents = 1;");
    shop.write("paid.example.json", r#"{"cents": "twelve"}"#);
    let refused = shop.run(&["schema", "check", "contracts"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(text.contains("breaking   field `Paid.cents` is of type string"), "{text}");
    assert!(text.contains("hits the subscriptions ledger"), "{text}");
    // One refusal refuses all, and lists every verdict.
    shop.write("other.proto", "syntax = 'proto3'; message Other {}");
    let refused = shop.run(&["schema", "publish", "contracts"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(text.starts_with("would be published shop/1/other 1.0\n"), "{text}");
    assert!(text.contains("refused shop/1/paid: breaks 1.0"), "{text}");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("1 of 2 schemas are refused, so none is published"), "{errors}");
    assert!(errors.contains("--next-major publishes"), "{errors}");
    assert!(!printed(&shop.run(&["schema", "list"])).contains("shop/1/other"));
    std::fs::remove_file(shop.path().join("contracts/shop/1/other.proto")).unwrap();
    let late = shop.run(&["schema", "publish", "contracts", "--next-major", "--expect", "1.7"]);
    assert_eq!(late.status.code(), Some(1));
    let text = String::from_utf8_lossy(&late.stdout).into_owned();
    assert!(text.contains("current version of shop/1/paid is 1.0"), "{text}");
    let next =
        printed(&shop.run(&["schema", "publish", "contracts", "--next-major", "--expect", "1.0"]));
    assert!(next.starts_with("published shop/2/paid 2.0\n"), "{next}");
}

#[test]
fn what_was_published_is_shown_and_stays_while_it_is_needed() {
    let shop = Shop::open();
    shop.contract("int64 cents = 1;");
    shop.write("paid.example.json", r#"{"cents": "12"}"#);
    printed(&shop.run(&["schema", "publish", "contracts"]));
    shop.subscribe();
    shop.contract("string cents = 1;");
    shop.write("paid.example.json", r#"{"cents": "twelve"}"#);
    printed(&shop.run(&["schema", "publish", "contracts", "--next-major"]));

    let example = printed(&shop.run(&["schema", "example", "shop/2/paid"]));
    assert_eq!(example, "{\n  \"cents\": \"cents\"\n}\n");
    let example = printed(&shop.run(&["schema", "example", "shop/1/paid", "--stored"]));
    assert_eq!(example, "{\"cents\": \"12\"}\n");
    let diff = printed(&shop.run(&["schema", "diff", "shop/1/paid", "1.0", "2.0"]));
    assert!(diff.contains("breaking   field `Paid.cents`"), "{diff}");
    assert!(printed(&shop.run(&["schema", "get", "shop/1/paid"])).contains("int64 cents = 1;"));
    printed(&shop.run(&["schema", "get", "shop/1/paid", "--version", "1.0", "--out", "old"]));
    assert!(shop.path().join("old/shop/1/paid.proto").exists());
    assert!(shop.path().join("old/shop/1/paid.example.json").exists());
    let shown = printed(&shop.run(&["schema", "get", "shop/1/paid", "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["version"]["rulebook"], "certes");
    let listed =
        printed(&shop.run(&["log", "list", "--kind", "schema_published", "--limit", "50"]));
    assert!(listed.contains(r#"{"uri":"shop/2/paid""#), "{listed}");
    let refused = shop.run(&["log", "list", "--kind", "nosuch"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("`nosuch`; there are: event_accepted, "), "{text}");
    assert!(text.contains(", schema_published, "), "{text}");
    let refused = shop.run(&["schema", "delete", "shop/1/paid"]);
    assert_eq!(refused.status.code(), Some(1), "it is needed");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("the subscription `ledger` needs it"), "{text}");
    assert_eq!(printed(&shop.run(&["schema", "delete", "shop/2/paid"])), "deleted shop/2/paid\n");
    assert!(printed(&shop.run(&["schema", "list", "shop/2/paid"])).contains("2.0"));
}

#[test]
fn a_skeleton_that_breaks_a_rule_says_so() {
    let shop = Shop::open();
    std::fs::create_dir_all(shop.path().join("ruled/shop/1")).unwrap();
    let ruled = "syntax = 'proto3'; import 'buf/validate/validate.proto'; message Sum {
        option (buf.validate.message).cel = {id: 'sum', expression: 'this.first_part == this.b + 41'};
        int32 first_part = 1; int32 b = 2;
    }";
    std::fs::write(shop.path().join("ruled/shop/1/sum.proto"), ruled).unwrap();
    printed(&shop.run(&["schema", "publish", "ruled"]));
    let example = shop.run(&["schema", "example", "shop/1/sum"]);
    assert_eq!(example.status.code(), Some(1), "no value was found that keeps the rule");
    assert_eq!(example.stdout, b"{\n  \"b\": 1,\n  \"first_part\": 1\n}\n");
    let text = String::from_utf8_lossy(&example.stderr).into_owned();
    assert!(text.contains("to be changed by hand") && text.contains("sum"), "{text}");
    let example = shop.run(&["schema", "example", "shop/1/sum", "--camel-case"]);
    let text = String::from_utf8_lossy(&example.stdout).into_owned();
    assert!(text.contains("\"firstPart\": 1"), "{text}");
}
