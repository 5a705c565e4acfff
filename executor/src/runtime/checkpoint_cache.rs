//! Caches the last checkpoint that an executor has read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tusk_core::state::ModelState;

/// The size in bytes up to which a state is kept until another one is read.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// Holds the last state that was read, so that the workers of one process and the two jobs of an epoch read it once. A
/// state above [`KEPT_BYTES_MAX`] is held only while a task uses it, to save memory.
#[derive(Debug, Default)]
pub(crate) struct CheckpointCache(Mutex<Option<(String, Entry)>>);

#[derive(Debug)]
enum Entry {
    Kept(Arc<ModelState>),
    WhileUsed(Weak<ModelState>),
}

impl CheckpointCache {
    /// Returns the state of the file with this checksum, if it is still held.
    pub(crate) fn get(&self, checksum: &str) -> Option<Arc<ModelState>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some((last, Entry::Kept(state))) if last == checksum => Some(Arc::clone(state)),
            Some((last, Entry::WhileUsed(state))) if last == checksum => state.upgrade(),
            _ => None,
        }
    }

    /// Replaces the entry by the state of the file with this checksum.
    pub(crate) fn put(&self, checksum: &str, state: &Arc<ModelState>) {
        self.put_up_to(KEPT_BYTES_MAX, checksum, state);
    }

    fn put_up_to(&self, bytes_max: usize, checksum: &str, state: &Arc<ModelState>) {
        let entry = match state.bytes() <= bytes_max {
            true => Entry::Kept(Arc::clone(state)),
            false => Entry::WhileUsed(Arc::downgrade(state)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((checksum.to_owned(), entry));
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::state::NamedTensor;

    use super::*;

    #[test]
    fn a_small_state_is_kept_and_a_large_one_is_held_while_it_is_used() {
        let state = |value: f32| {
            Arc::new(ModelState::new([NamedTensor { name: "w".into(), shape: vec![2], data: vec![value; 2] }]))
        };
        let (cache, first, second) = (CheckpointCache::default(), state(1.0), state(2.0));
        assert_eq!(cache.get(""), None);
        cache.put_up_to(8, "first", &first);
        drop(first);
        assert_eq!(cache.get("first"), Some(state(1.0)));
        cache.put_up_to(7, "second", &second);
        assert_eq!(cache.get("first"), None);
        assert_eq!(cache.get("second"), Some(state(2.0)));
        drop(second);
        assert_eq!(cache.get("second"), None);
    }
}
