//! Parses the architecture of a statement.

use crate::error::{Error, Result, nearest};
use crate::nets::Architecture;

/// Returns the architecture with this name.
///
/// # Errors
/// [`Error::InvalidOption`] with the nearest name.
pub fn architecture(name: &str) -> Result<Architecture> {
    Architecture::from_name(name).ok_or_else(|| Error::InvalidOption {
        option: "USING".into(),
        value: format!("'{name}'"),
        expected: Architecture::NAMES.join(", "),
        suggestion: nearest(name, Architecture::NAMES.iter().copied()),
    })
}
