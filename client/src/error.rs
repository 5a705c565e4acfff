//! What can go wrong for a user of the library.

pub use tusk_scheduler::{Error, Result};
