//! How often somebody may try a password: so many times in a minute for a name or from an address,
//! then not until time has passed, and each time they go on trying, longer. Bounded in memory,
//! whatever is tried.

use contract::clock::Timestamp;
use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Most names, or addresses, that are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// The time in which so many tries may be made.
const WINDOW: Duration = Duration::from_secs(60);

/// Remembers the tries of each `K`.
pub struct Throttle<K> {
    tries_max: u32,
    wait_max: Duration,
    tries: Mutex<HashMap<K, Tries>>,
}

#[derive(Clone, Copy)]
struct Tries {
    since: Timestamp,
    count: u32,
    /// How many times in a row too many were made.
    strikes: u32,
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// At most `tries_max` in a minute; then a wait that doubles each time, up to `wait_max`.
    pub fn new(tries_max: u32, wait_max: Duration) -> Self {
        let wait_max = wait_max.max(WINDOW);
        Self { tries_max: tries_max.max(1), wait_max, tries: Mutex::default() }
    }

    /// Counts a try. `Err`: too many, and when the next may be made.
    pub fn take(&self, who: &K, now: Timestamp) -> Result<(), Duration> {
        let mut all = self.tries();
        if all.len() >= REMEMBERED_MAX && !all.contains_key(who) {
            self.make_room(&mut all, now);
        }
        let fresh = Tries { since: now, count: 0, strikes: 0 };
        let tries = all.entry(who.clone()).or_insert(fresh);
        let ends = self.ends(tries);
        if ends <= now {
            let exhausted = tries.count >= self.tries_max && ends.after(self.wait_max) > now;
            let strikes = if exhausted { tries.strikes.saturating_add(1) } else { 0 };
            *tries = Tries { strikes, ..fresh };
        }
        if tries.count >= self.tries_max {
            return Err(self.ends(tries).since(now));
        }
        tries.count += 1;
        Ok(())
    }

    /// The password was right: none of those tries counts.
    pub fn forgive(&self, who: &K) {
        self.tries().remove(who);
    }

    /// The password was right: this try does not count.
    pub fn give_back(&self, who: &K) {
        if let Some(tries) = self.tries().get_mut(who) {
            tries.count = tries.count.saturating_sub(1);
        }
    }

    fn tries(&self) -> MutexGuard<'_, HashMap<K, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When its tries are counted anew.
    fn ends(&self, tries: &Tries) -> Timestamp {
        let doubled = 1_u32.checked_shl(tries.strikes).filter(|_| tries.count >= self.tries_max);
        let factor = match doubled {
            None if tries.count >= self.tries_max => u32::MAX,
            doubled => doubled.unwrap_or(1),
        };
        tries.since.after(WINDOW.saturating_mul(factor).min(self.wait_max))
    }

    /// Forgets those whose time has passed, or else the one with the fewest tries.
    fn make_room(&self, all: &mut HashMap<K, Tries>, now: Timestamp) {
        all.retain(|_, tries| self.ends(tries) > now);
        if all.len() >= REMEMBERED_MAX {
            let least = all.iter().min_by_key(|(_, tries)| (tries.strikes, tries.count));
            let least = least.map(|(who, _)| who.clone());
            least.map(|who| all.remove(&who));
        }
    }
}

/// The address as tries are counted for it: who has one of IPv6 has a whole /64 of them.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mut bytes = v6.octets();
            bytes[8..].fill(0);
            Ipv6Addr::from(bytes).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_tries_and_no_more_until_time_has_passed() {
        let throttle = Throttle::new(3, WINDOW);
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for second in 0..3 {
            assert_eq!(throttle.take(&"ada".to_owned(), at(second)), Ok(()));
        }
        assert_eq!(throttle.take(&"ada".to_owned(), at(10)), Err(Duration::from_secs(50)));
        assert_eq!(throttle.take(&"bob".to_owned(), at(10)), Ok(()), "others are not in the way");
        assert_eq!(throttle.take(&"ada".to_owned(), at(60)), Ok(()));
        throttle.forgive(&"ada".to_owned());
        for _ in 0..3 {
            assert_eq!(throttle.take(&"ada".to_owned(), at(61)), Ok(()));
        }
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_frees_nobody() {
        let throttle = Throttle::new(2, WINDOW);
        let now = Timestamp(0);
        assert_eq!(throttle.take(&"ada".to_owned(), now), Ok(()));
        assert_eq!(throttle.take(&"ada".to_owned(), now), Ok(()));
        for number in 0..2 * REMEMBERED_MAX {
            assert_eq!(throttle.take(&number.to_string(), now), Ok(()));
        }
        assert!(throttle.tries().len() <= REMEMBERED_MAX);
        assert!(throttle.take(&"ada".to_owned(), now).is_err());
    }

    #[test]
    fn who_goes_on_trying_waits_longer_each_time() {
        let throttle = Throttle::new(2, Duration::from_secs(200));
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        let mut now = 0;
        // The window begins with its first try.
        for wait in [60, 120, 200, 200] {
            for _ in 0..2 {
                assert_eq!(throttle.take(&1, at(now)), Ok(()));
            }
            assert_eq!(throttle.take(&1, at(now)), Err(Duration::from_secs(wait)));
            now += i64::try_from(wait).unwrap();
        }
        // A rest as long as the longest wait makes it good.
        now += 200;
        for _ in 0..2 {
            assert_eq!(throttle.take(&1, at(now)), Ok(()));
        }
        assert_eq!(throttle.take(&1, at(now)), Err(Duration::from_secs(60)));
    }

    #[test]
    fn a_right_password_is_no_try_and_an_address_is_a_network() {
        let throttle = Throttle::new(2, WINDOW);
        let address = |text: &str| counted(text.parse().unwrap());
        for _ in 0..10 {
            assert_eq!(throttle.take(&address("192.0.2.1"), Timestamp(0)), Ok(()));
            throttle.give_back(&address("192.0.2.1"));
        }
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
