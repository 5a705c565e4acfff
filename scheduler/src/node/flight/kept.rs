//! Values that are kept for a client until it uses or drops them, in a bounded number and for a bounded time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

struct Entry<T> {
    value: T,
    /// The number of its last use. Higher is later.
    turn: u64,
    used: Instant,
}

/// Values by handle. When one is added to a full store, the one that was unused longest is dropped.
pub(super) struct Kept<T> {
    entries: HashMap<String, Entry<T>>,
    turns: u64,
    max: usize,
    idle_max: Duration,
}

impl<T> Kept<T> {
    /// Keeps at most `max` values, each until it is not used for `idle_max`.
    pub(super) fn new(max: usize, idle_max: Duration) -> Self {
        Self { entries: HashMap::new(), turns: 0, max, idle_max }
    }

    /// Stores a value and returns its handle.
    pub(super) fn add(&mut self, value: T) -> String {
        self.drop_idle();
        while self.entries.len() >= self.max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.turn).map(|(handle, _)| handle.clone());
            let Some(oldest) = oldest else { break };
            self.entries.remove(&oldest);
        }
        let handle = uuid::Uuid::new_v4().to_string();
        self.turns += 1;
        self.entries.insert(handle.clone(), Entry { value, turn: self.turns, used: Instant::now() });
        handle
    }

    /// Returns a value, which counts as a use.
    pub(super) fn get(&mut self, handle: &str) -> Option<&mut T> {
        self.turns += 1;
        let entry = self.entries.get_mut(handle)?;
        entry.turn = self.turns;
        entry.used = Instant::now();
        Some(&mut entry.value)
    }

    /// Removes and returns a value.
    pub(super) fn take(&mut self, handle: &str) -> Option<T> {
        self.entries.remove(handle).map(|entry| entry.value)
    }

    /// Drops what was not used for too long.
    pub(super) fn drop_idle(&mut self) {
        let idle_max = self.idle_max;
        self.entries.retain(|_, entry| entry.used.elapsed() < idle_max);
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn the_value_that_is_unused_longest_makes_room() {
        let mut kept = Kept::new(3, LONG);
        let [first, second, third] = [1, 2, 3].map(|value| kept.add(value));
        assert_eq!(kept.get(&first), Some(&mut 1));
        let fourth = kept.add(4);
        assert_eq!(kept.get(&second), None);
        for (handle, value) in [(&first, 1), (&third, 3), (&fourth, 4)] {
            assert_eq!(kept.take(handle), Some(value));
        }
        assert!(kept.is_empty());
    }

    #[test]
    fn values_are_dropped_after_their_time() {
        let mut kept = Kept::new(3, Duration::ZERO);
        let first = kept.add(1);
        kept.drop_idle();
        assert_eq!((kept.get(&first), kept.len()), (None, 0));
    }
}
