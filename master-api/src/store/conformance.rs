//! What every [`StateStore`] must do, run by each of them.

use super::{Ahead, Batch, Embedded, Memory, Rows, Scan, StateStore, Table};
use crate::fact::Bucket;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A store, and how to open it again.
struct Subject {
    store: Box<dyn StateStore>,
    place: Place,
}

enum Place {
    /// It does not outlive itself.
    Nowhere,
    Directory(tempfile::TempDir),
    #[cfg(feature = "all")]
    Database(super::postgres::testing::Schema),
}

fn subjects() -> Vec<Subject> {
    let directory = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(directory.path(), 1 << 20).unwrap();
    vec![
        Subject { store: Box::new(Memory::default()), place: Place::Nowhere },
        Subject { store: Box::new(embedded), place: Place::Directory(directory) },
        #[cfg(feature = "all")]
        {
            let schema = super::postgres::testing::Schema::new();
            Subject { store: Box::new(schema.open()), place: Place::Database(schema) }
        },
    ]
}

fn keys(rows: &dyn Rows, scan: &Scan) -> Vec<Vec<u8>> {
    rows.scan(scan).unwrap().into_iter().map(|(key, _)| key.to_vec()).collect()
}

fn as_rows(store: &dyn StateStore) -> &dyn Rows {
    store
}

#[test]
fn rows_are_read_as_they_were_written() {
    for subject in subjects() {
        let store = &*subject.store;
        assert_eq!(store.get(Table::Due, b"a").unwrap(), None);
        assert!(store.scan(&Scan::all(Table::Due, 10)).unwrap().is_empty());
        let mut batch = Batch::default();
        for key in ["b", "a", "c", "ab"] {
            batch.put(Table::Due, key, key.as_bytes().to_vec());
        }
        batch.put(Table::Dead, "a", "other".as_bytes().to_vec());
        store.commit(batch).unwrap();
        assert_eq!(store.get(Table::Due, b"ab").unwrap().unwrap(), "ab");
        assert_eq!(store.get(Table::Dead, b"a").unwrap().unwrap(), "other");
        let mut batch = Batch::default();
        batch.remove(Table::Due, "a");
        batch.put(Table::Due, "b", "new".as_bytes().to_vec());
        store.commit(batch).unwrap();
        assert_eq!(store.get(Table::Due, b"a").unwrap(), None);
        assert_eq!(store.get(Table::Due, b"b").unwrap().unwrap(), "new");
    }
}

#[test]
fn scans_keep_their_bounds() {
    for subject in subjects() {
        let mut batch = Batch::default();
        for key in [&b"a"[..], b"b\x00", b"b\xff", b"b\xff\xff", b"c"] {
            batch.put(Table::Due, key, "x".as_bytes().to_vec());
        }
        subject.store.commit(batch).unwrap();
        let rows = as_rows(&*subject.store);
        let all = Scan::all(Table::Due, 10);
        assert_eq!(keys(rows, &Scan::prefix(Table::Due, b"b", 10)).len(), 3);
        assert_eq!(keys(rows, &Scan::prefix(Table::Due, b"b\xff", 10)).len(), 2);
        assert_eq!(keys(rows, &Scan::prefix(Table::Due, b"", 10)).len(), 5);
        assert_eq!(keys(rows, &all.clone().after(b"b\xff")), [&b"b\xff\xff"[..], b"c"]);
        assert_eq!(keys(rows, &all.clone().from(b"b\xff").before(b"c")).len(), 2);
        assert_eq!(keys(rows, &all.clone().before(b"b").reversed()), [b"a"]);
        assert_eq!(keys(rows, &Scan::all(Table::Due, 2).reversed()), [&b"c"[..], b"b\xff\xff"]);
        assert!(keys(rows, &all.clone().from(b"c").before(b"a")).is_empty());
        assert!(keys(rows, &all.after(b"c").before(b"c")).is_empty());
    }
}

#[test]
fn many_rows_are_read_at_once() {
    for subject in subjects() {
        let mut batch = Batch::default();
        for key in ["a", "b", "c"] {
            batch.put(Table::Secrets, key, key.as_bytes().to_vec());
        }
        subject.store.commit(batch).unwrap();
        let rows = as_rows(&*subject.store);
        let keys: Vec<_> = ["c", "x", "a"].map(|key| key.as_bytes().to_vec()).to_vec();
        let mut found = rows.get_many(Table::Secrets, &keys).unwrap();
        found.sort();
        let row = |key: &'static str| (Bytes::from(key), Bytes::from(key));
        assert_eq!(found, [row("a"), row("c")]);
        assert!(rows.get_many(Table::Traffic(Bucket(9)), &keys).unwrap().is_empty());
        let each = rows.get_each(Table::Secrets, &[&keys[..], &keys[..1]].concat()).unwrap();
        assert_eq!(each, [Some(Bytes::from("c")), None, Some(Bytes::from("a")), each[0].clone()]);
        assert!(rows.get_each(Table::Secrets, &[]).unwrap().is_empty());
        let snapshot = subject.store.snapshot();
        assert_eq!(snapshot.get_each(Table::Search(Bucket(9)), &keys).unwrap(), [None, None, None]);
        // What was read ahead is not looked for again, whether it was there or not.
        let mut ahead = Ahead::of(rows);
        ahead.fetch(Table::Secrets, &keys).unwrap();
        let mut batch = Batch::default();
        batch.put(Table::Secrets, "x", "new".as_bytes().to_vec());
        batch.remove(Table::Secrets, "b");
        subject.store.commit(batch).unwrap();
        assert_eq!(ahead.get(Table::Secrets, b"x").unwrap(), None);
        assert_eq!(ahead.get(Table::Secrets, b"a").unwrap().unwrap(), "a");
        assert_eq!(ahead.get(Table::Secrets, b"b").unwrap(), None);
    }
}

#[test]
fn a_snapshot_stands_still() {
    for subject in subjects() {
        let put = |value: &str| {
            let mut batch = Batch::default();
            batch.put(Table::Meta, "k", value.as_bytes().to_vec());
            subject.store.commit(batch).unwrap();
        };
        put("before");
        let snapshot = subject.store.snapshot();
        put("after");
        assert_eq!(snapshot.get(Table::Meta, b"k").unwrap().unwrap(), "before");
        assert_eq!(snapshot.scan(&Scan::all(Table::Meta, 9)).unwrap()[0].1, "before");
        assert_eq!(subject.store.get(Table::Meta, b"k").unwrap().unwrap(), "after");
    }
}

#[test]
fn a_dropped_table_is_gone_and_can_come_again() {
    let day = Table::of_day(Bucket(20_000));
    for (subject, table) in subjects().iter().flat_map(|subject| day.map(|table| (subject, table)))
    {
        let put = || {
            let mut batch = Batch::default();
            batch.put(table, "k", "v".as_bytes().to_vec());
            subject.store.commit(batch).unwrap();
        };
        put();
        assert_eq!(subject.store.tables(), [table]);
        subject.store.drop_table(table).unwrap();
        assert!(subject.store.tables().is_empty());
        assert_eq!(subject.store.get(table, b"k").unwrap(), None);
        put();
        assert_eq!(subject.store.get(table, b"k").unwrap().unwrap(), "v");
        subject.store.drop_table(table).unwrap();
    }
}

#[test]
fn what_outlives_a_store_is_all_there() {
    for Subject { store, place } in subjects() {
        let mut batch = Batch::default();
        batch.put(Table::Payloads(Bucket(7)), "k", vec![7; 100_000]);
        batch.put(Table::Secrets, "s", "v".as_bytes().to_vec());
        store.commit(batch).unwrap();
        let store: Box<dyn StateStore> = match &place {
            Place::Nowhere => continue,
            Place::Directory(directory) => {
                let refused = Embedded::open(directory.path(), 1 << 20).unwrap_err();
                assert!(matches!(refused, super::StoreError::InUse(_)), "{refused}");
                drop(store);
                Box::new(Embedded::open(directory.path(), 1 << 20).unwrap())
            }
            #[cfg(feature = "all")]
            Place::Database(schema) => Box::new(schema.open()),
        };
        assert_eq!(store.tables(), [Table::Payloads(Bucket(7)), Table::Secrets]);
        assert_eq!(store.get(Table::Payloads(Bucket(7)), b"k").unwrap().unwrap(), vec![7; 100_000]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn each_is_an_ordered_map(
        batches in proptest::collection::vec(
            proptest::collection::btree_map("[a-c]{1,3}", proptest::option::of("[a-z]{0,4}"), 1..8),
            1..8,
        ),
        from in "[a-c]{0,3}", to in "[a-c]{0,3}", reverse: bool, limit in 0_usize..6,
    ) {
        for subject in subjects() {
            let mut model = BTreeMap::new();
            for changes in &batches {
                let mut batch = Batch::default();
                for (key, value) in changes {
                    if let Some(value) = value {
                        model.insert(key.clone(), value.clone());
                        batch.put(Table::Due, key.as_bytes(), value.clone().into_bytes());
                    } else {
                        model.remove(key);
                        batch.remove(Table::Due, key.as_bytes());
                    }
                }
                subject.store.commit(batch).unwrap();
            }
            let scan = Scan::all(Table::Due, limit).from(from.as_bytes()).before(to.as_bytes());
            let scan = if reverse { scan.reversed() } else { scan };
            let mut wanted: Vec<_> = model.iter().filter(|(key, _)| **key >= from && **key < to)
                .map(|(key, _)| key.as_bytes().to_vec()).collect();
            if reverse { wanted.reverse(); }
            wanted.truncate(limit);
            prop_assert_eq!(keys(as_rows(&*subject.store), &scan), wanted);
        }
    }
}
