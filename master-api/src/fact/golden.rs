//! One golden file of every kind of fact: what was written once can be read for ever, and is
//! still written the same way.

mod samples;

use super::*;
use crate::{
    codec,
    log::{Draft, read_fact},
};
use samples::{samples, time};
use std::{fs, path::Path};

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/test-data/facts"))
}

/// The text of a golden file: hex in lines, so that a change shows in a diff.
fn text(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| hex::encode(chunk) + "\n";
    bytes.chunks(40).map(line).collect()
}

/// A new kind gets its file by running this test with `CERTES_WRITE_GOLDEN` set; a file that is
/// there is never written over.
#[test]
fn every_kind_is_written_and_read_as_in_its_golden_file() {
    let actor = Actor::Component("broker".into());
    for (kind, body) in samples() {
        let (sequence, prev_hash) = (Sequence(301), Hash([10; 32]));
        let draft = Draft::new(&actor, &body).unwrap();
        let (written, _) = draft.place(sequence, time(7), prev_hash);
        let path = directory().join(format!("{kind}.v{}.hex", codec::VERSION));
        if !path.exists() && std::env::var_os("CERTES_WRITE_GOLDEN").is_some() {
            fs::write(&path, text(&written)).unwrap();
        }
        let golden =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(golden, text(&written), "{kind} is written in another way");
        let row = hex::decode(golden.replace('\n', "")).unwrap();
        let key = sequence.0.to_be_bytes().to_vec();
        let read = read_fact(&(key.into(), row.into())).unwrap();
        let wanted = Fact { sequence, time: time(7), actor: actor.clone(), prev_hash, body };
        assert_eq!(read, wanted, "{kind} is read in another way");
    }
}

/// A kind without a sample would have no golden file. The names come from the type itself.
#[test]
fn every_kind_has_a_sample_and_an_unknown_one_stops_the_reader() {
    let unknown = [
        vec![codec::VERSION],
        rmp_serde::to_vec_named(
            &[("no_such_kind", 1)].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap(),
    ]
    .concat();
    let error = codec::decode::<FactBody>(&unknown).unwrap_err().to_string();
    assert!(error.contains("expected one of"), "{error}");
    let mut known: Vec<_> = super::kinds().iter().map(String::as_str).collect();
    let refused = super::check_kinds(&["event_accepted".to_owned(), "nosuch".to_owned()]);
    let refused = refused.unwrap_err().message;
    assert!(refused.starts_with("there is no kind of fact `nosuch`; there are: event_accepted, "));
    // What follows a dot names what is special about a second sample of a kind.
    let kind = |(name, _): (&'static str, FactBody)| name.split('.').next().unwrap();
    let mut sampled: Vec<_> = samples().into_iter().map(kind).collect();
    known.sort_unstable();
    sampled.sort_unstable();
    sampled.dedup();
    assert_eq!(sampled, known);
}

#[test]
fn an_unknown_field_stops_the_reader() {
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Newer {
        SourceRemoved { name: &'static str, why: &'static str },
    }
    let newer = codec::encode(&Newer::SourceRemoved { name: "github", why: "old" }).unwrap();
    let error = codec::decode::<FactBody>(&newer).unwrap_err();
    assert!(error.to_string().contains("unknown field"), "{error}");
}

#[test]
fn a_newer_version_is_refused() {
    let mut bytes = codec::encode(&FactBody::FormatRaised { format: 1 }).unwrap();
    bytes[0] += 1;
    let error = codec::decode::<FactBody>(&bytes).unwrap_err();
    assert!(matches!(error, codec::CodecError::Version { found: 2 }), "{error}");
}
