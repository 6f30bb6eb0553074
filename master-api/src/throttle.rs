//! How often somebody may try a password: so many times for a name, then not until time has passed.
//! Bounded in memory, whatever names are tried.

use contract::clock::Timestamp;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Most names that are remembered.
const NAMES_MAX: usize = 10_000;
/// The time in which a name may be tried so many times.
const WINDOW: Duration = Duration::from_secs(60);

/// Remembers tries.
pub struct Throttle {
    tries_max: u32,
    tries: Mutex<HashMap<String, Tries>>,
}

#[derive(Clone, Copy)]
struct Tries {
    since: Timestamp,
    count: u32,
}

impl Throttle {
    /// At most `tries_max` in a minute.
    pub fn new(tries_max: u32) -> Self {
        Self { tries_max: tries_max.max(1), tries: Mutex::default() }
    }

    /// Counts a try. `Err`: too many, and when the next may be made.
    pub fn take(&self, name: &str, now: Timestamp) -> Result<(), Duration> {
        let mut all = self.tries();
        if all.len() >= NAMES_MAX && !all.contains_key(name) {
            make_room(&mut all, now);
        }
        let tries = all.entry(name.to_owned()).or_insert(Tries { since: now, count: 0 });
        if passed(tries, now) {
            *tries = Tries { since: now, count: 0 };
        }
        if tries.count >= self.tries_max {
            return Err(tries.since.after(WINDOW).since(now));
        }
        tries.count += 1;
        Ok(())
    }

    /// The password was right: those tries do not count.
    pub fn forgive(&self, name: &str) {
        self.tries().remove(name);
    }

    fn tries(&self) -> MutexGuard<'_, HashMap<String, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn passed(tries: &Tries, now: Timestamp) -> bool {
    tries.since.after(WINDOW) <= now
}

/// Forgets those whose time has passed, or else the one with the fewest tries.
fn make_room(all: &mut HashMap<String, Tries>, now: Timestamp) {
    all.retain(|_, tries| !passed(tries, now));
    if all.len() >= NAMES_MAX {
        let least = all.iter().min_by_key(|(_, tries)| tries.count).map(|(name, _)| name.clone());
        least.map(|name| all.remove(&name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_tries_and_no_more_until_time_has_passed() {
        let throttle = Throttle::new(3);
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for second in 0..3 {
            assert_eq!(throttle.take("ada", at(second)), Ok(()));
        }
        assert_eq!(throttle.take("ada", at(10)), Err(Duration::from_secs(50)));
        assert_eq!(throttle.take("bob", at(10)), Ok(()), "others are not in the way");
        assert_eq!(throttle.take("ada", at(60)), Ok(()));
        throttle.forgive("ada");
        for _ in 0..3 {
            assert_eq!(throttle.take("ada", at(61)), Ok(()));
        }
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_frees_nobody() {
        let throttle = Throttle::new(2);
        let now = Timestamp(0);
        assert_eq!(throttle.take("ada", now), Ok(()));
        assert_eq!(throttle.take("ada", now), Ok(()));
        for number in 0..2 * NAMES_MAX {
            assert_eq!(throttle.take(&number.to_string(), now), Ok(()));
        }
        assert!(throttle.tries().len() <= NAMES_MAX);
        assert!(throttle.take("ada", now).is_err());
    }
}
