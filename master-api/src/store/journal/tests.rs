//! Whatever happens to a journal, it is told right.

use super::*;
use crate::store::{Batch, Embedded, Rows, Scan, StateStore, Table};
use contract::testing::SeededRandom;

const KEY: &[u8] = b"head";

/// A journal of batches of all sizes; where each ends.
fn journal() -> (tempfile::TempDir, Vec<u8>, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path(), 1 << 20).unwrap();
    // A removal makes no table.
    store.create(&[Table::Dead]).unwrap();
    for n in 0..10_u8 {
        let mut batch = Batch::default();
        batch.put(Table::Meta, KEY, vec![n]);
        // Compressed and not, longer than a page and shorter.
        batch.put(Table::Secrets, vec![n; 16], vec![n.max(1); 700 * usize::from(n)]);
        let mut noise = vec![0; 1400 * usize::from(n)];
        contract::random::Random::fill(&*SeededRandom::new(u64::from(n)), &mut noise);
        batch.put(Table::Cursors, vec![n], noise);
        batch.remove(Table::Dead, vec![n]);
        store.commit(batch).unwrap();
    }
    drop(store);
    let mut bytes = fs::read(directory.path().join("0.jnl")).unwrap();
    let (mut ends, mut at) = (vec![0], 0);
    let mut input = &bytes[..];
    while let Ok(Some(whole)) = parse::batch(&mut input, None, &mut Vec::new(), &mut |_, _| ()) {
        at += whole.length;
        ends.push(at);
    }
    bytes.truncate(usize::try_from(at).unwrap() + 8192);
    (directory, bytes, ends)
}

fn surveyed(directory: &tempfile::TempDir, bytes: &[u8]) -> Survey {
    fs::write(directory.path().join("0.jnl"), bytes).unwrap();
    survey(directory.path(), KEY).unwrap()
}

#[test]
fn a_whole_journal_is_whole() {
    let (directory, bytes, ends) = journal();
    let survey = surveyed(&directory, &bytes);
    assert!(survey.damages.is_empty() && survey.torn.is_none());
    assert_eq!((survey.batches, survey.found), (10, Some(vec![9])));
    assert_eq!(ends.len(), 11);
}

#[test]
fn a_last_write_that_was_cut_short_is_torn_wherever() {
    let (directory, bytes, ends) = journal();
    let [before, end] = [ends[9], ends[10]].map(|at| usize::try_from(at).unwrap());
    for cut in (before + 1..end).step_by(997).chain([end - 1]) {
        // The file ends there, or zeros follow.
        for zeros in [0, 5000] {
            let left = [&bytes[..cut], &vec![0; zeros]].concat();
            let survey = surveyed(&directory, &left);
            assert!(survey.damages.is_empty(), "{cut} {zeros}");
            assert_eq!(survey.torn.map(|torn| torn.at), Some(ends[9]), "{cut} {zeros}");
            assert_eq!(survey.found, Some(vec![8]));
        }
    }
    // Its end reached the disk, a page in the middle did not.
    let page = (before / 4096 + 1) * 4096;
    let mut hole = bytes;
    hole[page..page + 4096].fill(0);
    let survey = surveyed(&directory, &hole);
    assert!(survey.damages.is_empty());
    let torn = survey.torn.unwrap();
    torn.cut(directory.path()).unwrap();
    let store = Embedded::open(directory.path(), 1 << 20).unwrap();
    assert_eq!(store.get(Table::Meta, KEY).unwrap().unwrap(), vec![8]);
}

/// Every byte of a batch in the middle and of the last one.
#[test]
fn a_flipped_byte_is_damage_and_costs_no_other_batch() {
    let (directory, bytes, ends) = journal();
    for batch in [3, 9] {
        let [from, to] = [ends[batch], ends[batch + 1]].map(|at| usize::try_from(at).unwrap());
        for place in (from..from + 60).chain((from + 60..to - 20).step_by(1511)).chain(to - 20..to)
        {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let survey = surveyed(&directory, &damaged);
            if batch == 9 && survey.torn.is_some() {
                // A last batch without a form is like one that was cut short; the head file tells
                // it apart. Not so when only a row is damaged.
                assert!(place < from + 60 || place >= to - 20, "{}", place - from);
                continue;
            }
            // Its number is under no checksum, and out of order with the next one only.
            let is_number = (from + 5..from + 13).contains(&place);
            if batch == 9 && is_number {
                continue;
            }
            let [damage] = &survey.damages[..] else { panic!("{batch} {place}: {survey:?}") };
            if is_number {
                continue;
            }
            assert_eq!((damage.from, damage.to), (ends[batch], ends[batch + 1]), "{place}");
            assert_eq!(survey.batches, 9);
        }
    }
}

#[test]
fn without_the_damage_a_store_opens_with_all_the_rest() {
    let (directory, bytes, ends) = journal();
    let mut damaged = bytes;
    for batch in [2, 5] {
        let at = usize::try_from(ends[batch]).unwrap();
        damaged[at + 40] ^= 1;
    }
    let survey = surveyed(&directory, &damaged);
    assert_eq!(survey.damages.len(), 2);
    // Nothing but the damaged row is missing in what can be made out.
    assert!(survey.damages.iter().all(|damage| damage.rows.len() == 4), "{survey:?}");
    excise(&survey.damages, directory.path()).unwrap();
    let store = Embedded::open(directory.path(), 1 << 20).unwrap();
    let keys = store.scan(&Scan::all(Table::Secrets, 99)).unwrap();
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [0, 1, 3, 4, 6, 7, 8, 9]);
}
