//! A bounded map: what was not used for longest goes first.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Holds as many entries and bytes as it may.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    entries_max: usize,
    bytes_max: usize,
    entries: HashMap<K, Entry<V>>,
    /// Keys by when they were last used.
    order: BTreeMap<u64, K>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    /// At most so many entries, and so many bytes of all together.
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        Self { entries_max, bytes_max, entries, order, bytes: 0, uses: 0 }
    }

    /// Puts a value in that takes `bytes`. One that is larger than everything may be is not kept.
    pub(crate) fn put(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes > self.bytes_max {
            return;
        }
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key, Entry { value, bytes, used: self.uses });
        self.bytes += bytes;
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| key.clone()) else {
                return;
            };
            self.remove(&oldest);
        }
    }

    /// A value, which counts as used by that.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(self.uses, key);
        }
        entry.used = self.uses;
        Some(&entry.value)
    }

    /// All values that may be changed, which does not count as using them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, entry)| (key, &mut entry.value))
    }

    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut lru = Lru::new(2, 100);
        lru.put("a", 1, 1);
        lru.put("b", 2, 1);
        assert_eq!(lru.get("a"), Some(&1));
        lru.put("c", 3, 1);
        assert_eq!(lru.get("b"), None);
        assert_eq!(lru.get("a"), Some(&1));
        lru.put("c", 4, 100);
        assert_eq!(lru.get("a"), None);
        assert_eq!(lru.get("c"), Some(&4));
        lru.put("c", 5, 101);
        assert_eq!(lru.get("c"), None);
        assert_eq!(lru.bytes, 0);
    }

    proptest! {
        #[test]
        fn bounds_hold(puts: Vec<(u8, u8)>) {
            let mut lru = Lru::new(5, 300);
            for (key, bytes) in puts {
                lru.put(key, (), bytes.into());
                prop_assert!(lru.entries.len() <= 5 && lru.bytes <= 300);
                prop_assert_eq!(lru.entries.len(), lru.order.len());
                let sum: usize = lru.entries.values().map(|entry| entry.bytes).sum();
                prop_assert_eq!(sum, lru.bytes);
            }
        }
    }
}
