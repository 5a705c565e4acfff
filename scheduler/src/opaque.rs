//! A shared value whose fields the compiler does not inspect.

use std::fmt::{Debug, Formatter};
use std::ops::Deref;
use std::sync::Arc;

/// A shared value of type `T` that is `Send` and `Sync`. The compiler checks this once, where the value is created.
///
/// A future that holds a session or a scheduler contains hundreds of types of Ballista and DataFusion. For every method
/// of an `async_trait` trait, the compiler checks again whether all of them are `Send`. That took half of the build
/// time of this crate.
pub(crate) struct Opaque<T>(Arc<dyn Held<T>>);

/// A value behind a `dyn` pointer, which hides its type.
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
