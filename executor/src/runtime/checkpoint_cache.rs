//! The last checkpoint that an executor read.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tusk_core::state::ModelState;

/// The largest state that is kept until another is read.
const KEPT_BYTES_MAX: usize = 256 << 20;

/// The last state read, so that the workers of one process and the two jobs of an epoch read it once. A large one is not
/// kept for longer than somebody needs it: reading it again costs less than what its memory is good for.
#[derive(Debug, Default)]
pub(crate) struct CheckpointCache(Mutex<Option<(String, Hold)>>);

#[derive(Debug)]
enum Hold {
    Kept(Arc<ModelState>),
    WhileNeeded(Weak<ModelState>),
}

impl CheckpointCache {
    /// The state of a file with this checksum, if it is still there.
    pub(crate) fn get(&self, checksum: &str) -> Option<Arc<ModelState>> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some((last, Hold::Kept(state))) if last == checksum => Some(Arc::clone(state)),
            Some((last, Hold::WhileNeeded(state))) if last == checksum => state.upgrade(),
            _ => None,
        }
    }

    /// Remembers what was read from a file with this checksum.
    pub(crate) fn put(&self, checksum: &str, state: &Arc<ModelState>) {
        self.put_up_to(KEPT_BYTES_MAX, checksum, state);
    }

    fn put_up_to(&self, bytes_max: usize, checksum: &str, state: &Arc<ModelState>) {
        let hold = match state.bytes() <= bytes_max {
            true => Hold::Kept(Arc::clone(state)),
            false => Hold::WhileNeeded(Arc::downgrade(state)),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((checksum.to_owned(), hold));
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::state::NamedTensor;

    use super::*;

    #[test]
    fn a_small_state_is_kept_and_a_large_one_as_long_as_it_is_needed() {
        let state = |value: f32| {
            Arc::new(ModelState::new([NamedTensor { name: "w".into(), shape: vec![2], data: vec![value; 2] }]))
        };
        let (last, first, second) = (CheckpointCache::default(), state(1.0), state(2.0));
        assert_eq!(last.get(""), None);
        last.put_up_to(8, "first", &first);
        drop(first);
        assert_eq!(last.get("first"), Some(state(1.0)));
        last.put_up_to(7, "second", &second);
        assert_eq!(last.get("first"), None);
        assert_eq!(last.get("second"), Some(state(2.0)));
        drop(second);
        assert_eq!(last.get("second"), None);
    }
}
