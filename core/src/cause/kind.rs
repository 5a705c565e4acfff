//! The kinds of failures.

/// The kind of a failure, by what the user can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CauseKind {
    /// The statement or its data is invalid. It would fail again.
    Invalid,
    /// Something named in the statement does not exist.
    NotFound,
    /// The name already exists.
    Exists,
    /// There is not enough memory or disk space.
    Exhausted,
    /// A file, a store or a connection is temporarily unavailable.
    Unavailable,
    /// A bug.
    Internal,
}
