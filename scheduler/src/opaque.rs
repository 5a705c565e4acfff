//! A shared value whose fields the compiler does not look into.

use std::fmt::{Debug, Formatter};
use std::ops::Deref;
use std::sync::Arc;

/// A shared value of type `T` that is `Send` and `Sync` whatever `T` consists of: that is decided once, where it is made.
///
/// A future that holds a session or a scheduler holds hundreds of types of Ballista and DataFusion. For every method of a
/// trait of `async_trait`, the compiler decides anew whether all of them are `Send`, which took half of this crate's build.
pub(crate) struct Opaque<T>(Arc<dyn Held<T>>);

/// A value behind a pointer.
trait Held<T>: Send + Sync {
    fn get(&self) -> &T;
}

impl<T: Send + Sync> Held<T> for T {
    fn get(&self) -> &T {
        self
    }
}

impl<T: Send + Sync + 'static> Opaque<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Opaque<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        Held::get(self.0.as_ref())
    }
}

impl<T: Debug> Debug for Opaque<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.deref().fmt(f)
    }
}
