//! What was released of the API goes on to work: `schema.graphql` and the public `.proto` files
//! against those of the last release, which lie in `tests/baseline` (`cargo xtask baseline` puts
//! the present ones there when a version is released). What is added is fine.

mod graphql;
mod protobuf;

use std::{
    fs,
    path::{Path, PathBuf},
};

const SAY: &str = "programs of others would break; a change that is meant waits for the next major \
                   version, where `cargo xtask baseline` accepts it";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The `.proto` files below a directory, by path.
fn protos(path: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, below: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("internal") {
                walk(&path, below, found);
            } else if path.extension().is_some_and(|end| end == "proto") {
                let name = path.strip_prefix(below).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let (dir, mut found) = (root().join(path), Vec::new());
    walk(&dir, &dir, &mut found);
    found.sort();
    found
}

#[test]
fn graphql_goes_on_to_work() {
    let (released, present) =
        (read("tests/baseline/schema.graphql"), read("master-api/schema.graphql"));
    let broken = graphql::broken(&released, &present);
    assert!(broken.is_empty(), "{SAY}: {broken:#?}");
}

#[tokio::test]
async fn grpc_goes_on_to_work() {
    let broken = protobuf::broken(&protos("tests/baseline/proto"), &protos("proto/proto")).await;
    assert!(broken.is_empty(), "{SAY}: {broken:#?}");
}

#[test]
fn each_break_of_graphql_is_found() {
    const RELEASED: &str = r#"
        type Query { a(x: Int, y: [String!]!): String! b: Thing! c: [Int!]! }
        type Thing { id: ID! }
        interface Named { name: String }
        union Any = Thing | Query
        enum Colour { RED GREEN }
        input Wish { colour: Colour, size: Int! }
        scalar When
    "#;
    let present = |from: &str, to: &str| {
        assert!(RELEASED.contains(from), "{from}");
        graphql::broken(RELEASED, &RELEASED.replacen(from, to, 1))
    };
    let fine = [
        ("a(x: Int,", "a(x: Int, z: Int = 3,"),
        ("y: [String!]!", "y: [String]"),
        ("name: String }", "name: String! more: Int }"),
        ("GREEN", "GREEN BLUE"),
        ("size: Int!", "size: Int, more: Int"),
        ("scalar When", "scalar When type More { x: Int }"),
        ("b: Thing!", "b: Thing! @deprecated"),
    ];
    for (from, to) in fine {
        assert_eq!(present(from, to), Vec::<String>::new(), "{from} -> {to}");
    }
    let breaks = [
        ("b: Thing!", "", "Query.b"),
        ("b: Thing!", "b: Thing", "Query.b"),
        ("c: [Int!]!", "c: [Int]!", "Query.c"),
        ("c: [Int!]!", "c: Int!", "Query.c"),
        ("a(x: Int,", "a(", "Query.a(x:)"),
        ("a(x: Int,", "a(x: Int!,", "Query.a(x:)"),
        ("a(x: Int,", "a(x: Int, z: Int!,", "Query.a(z:)"),
        ("GREEN", "", "Colour.GREEN"),
        ("Thing | Query", "Thing", "Any"),
        ("colour: Colour,", "", "Wish.colour"),
        ("colour: Colour", "colour: Colour!", "Wish.colour"),
        ("size: Int!", "size: Int!, more: Int!", "Wish.more"),
        ("scalar When", "", "When"),
        ("interface Named", "type Named", "Named"),
    ];
    for (from, to, named) in breaks {
        let found = present(from, to);
        assert!(found.iter().any(|text| text.contains(named)), "{from} -> {to}: {found:?}");
    }
}

#[tokio::test]
async fn each_break_of_grpc_is_found() {
    const RELEASED: &str = r#"syntax = "proto3"; package a.v1;
        import "google/protobuf/timestamp.proto";
        service S { rpc Get(Ask) returns (Answer); rpc Follow(Ask) returns (stream Answer); }
        message Ask { string id = 1; google.protobuf.Timestamp at = 2; }
        message Answer { Kind kind = 1; oneof of { int32 n = 2; string t = 3; } }
        enum Kind { KIND_UNSPECIFIED = 0; KIND_A = 1; }
        message Alone { int32 n = 1; }
    "#;
    let files = |text: &str| vec![("a/v1/a.proto".to_owned(), text.to_owned())];
    let present = async |from: &str, to: &str| {
        assert!(RELEASED.contains(from), "{from}");
        protobuf::broken(&files(RELEASED), &files(&RELEASED.replacen(from, to, 1))).await
    };
    let fine = [
        ("string id = 1;", "string id = 1; string more = 3;"),
        ("KIND_A = 1;", "KIND_A = 1; KIND_B = 2;"),
        ("message Alone", "message More { int32 n = 1; } message Alone"),
        ("service S {", "service S { rpc More(Ask) returns (Answer);"),
    ];
    for (from, to) in fine {
        assert_eq!(present(from, to).await, Vec::<String>::new(), "{from} -> {to}");
    }
    let breaks = [
        ("string id = 1;", "", "id"),
        ("string id = 1;", "string id = 4;", "id"),
        ("string id = 1;", "string name = 1;", "id"),
        ("string id = 1;", "int32 id = 1;", "id"),
        ("string id = 1;", "repeated string id = 1;", "id"),
        ("string t = 3;", "", "t"),
        ("KIND_A = 1;", "", "KIND_A"),
        ("KIND_A = 1;", "KIND_A = 3;", "KIND_A"),
        ("message Alone { int32 n = 1; }", "", "Alone"),
        ("rpc Get(Ask) returns (Answer);", "", "a.v1.S/Get"),
        ("rpc Get(Ask)", "rpc Get(Answer)", "a.v1.S/Get"),
        ("returns (stream Answer)", "returns (Answer)", "a.v1.S/Follow"),
        ("service S", "service T", "a.v1.S"),
    ];
    for (from, to, named) in breaks {
        let found = present(from, to).await;
        assert!(found.iter().any(|text| text.contains(named)), "{from} -> {to}: {found:?}");
    }
}
