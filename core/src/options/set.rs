//! Sets options by name.

use super::{ModelSpec, OptionDef, OptionValue, option_defs};
use crate::error::{Error, Result, nearest};

/// Returns the definition of an option.
pub(super) fn def(key: &str) -> Result<&'static OptionDef> {
    option_defs().find(|def| key.eq_ignore_ascii_case(def.name)).ok_or_else(|| {
        let names: Vec<&str> = option_defs().map(|def| def.name).chain(["resume"]).collect();
        Error::unknown_option(key, &names)
    })
}

/// Sets one option.
pub(super) fn set(spec: &mut ModelSpec, key: &str, value: &OptionValue) -> Result<()> {
    let def = def(key)?;
    (def.set)(spec, value).ok_or_else(|| invalid(def.name, value, def.expected()))
}

/// The error for a value that does not fit, with the nearest word that does.
pub(super) fn invalid(option: &str, value: &OptionValue, expected: String) -> Error {
    // Suggest the nearest of the quoted words in the description of the option.
    let words = expected.split('\'').skip(1).step_by(2);
    let suggestion = match value {
        OptionValue::Text(text) => nearest(text, words).filter(|word| !word.eq_ignore_ascii_case(text)),
        _ => None,
    };
    Error::InvalidOption { option: option.to_owned(), value: value.to_string(), expected, suggestion }
}
