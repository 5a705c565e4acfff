//! Parses the options of a statement into a spec.

use super::accepts::{Accepts, Flag};
use super::search::{self, Values};
use super::{Architecture, ModelSpec, OptionDef, OptionValue, distribution, net, option_defs, split, start};
use crate::error::{Error, Result, nearest};

/// Returns the spec of a statement, and whether it has `resume`.
///
/// # Errors
/// [`Error::UnknownOption`] and [`Error::InvalidOption`], each with the nearest existing name or value;
/// [`Error::ConflictingOptions`] for an option given twice.
pub fn parse(architecture: Architecture, options: &[(String, OptionValue)]) -> Result<(ModelSpec, bool)> {
    let mut spec = ModelSpec::new(architecture);
    let mut resume = false;
    for (position, (key, value)) in options.iter().enumerate() {
        if options[..position].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
            return Err(Error::ConflictingOptions { message: format!("option '{key}' is given twice; keep one") });
        }
        if key.eq_ignore_ascii_case("resume") {
            resume = Flag.parse(value).ok_or_else(|| invalid("resume", value, Flag.expected()))?;
            continue;
        }
        match value {
            OptionValue::Range(low, high) => {
                spec.search_for(def(key)?, Values::Range(low.clone(), high.clone()))?;
            }
            OptionValue::Candidates(values) => {
                spec.search_for(def(key)?, Values::Candidates(values.clone()))?;
            }
            _ => set(&mut spec, key, value)?,
        }
    }
    let is_given = |name: &str| options.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    // For a search, each trial is checked.
    if spec.search.space.is_empty() {
        distribution::check(&spec, is_given)?;
        start::check(&spec)?;
    }
    net::check(&spec, is_given)?;
    split::check(&spec, is_given)?;
    search::check(&spec, is_given)?;
    Ok((spec, resume))
}

fn def(key: &str) -> Result<&'static OptionDef> {
    let names = || option_defs().map(|def| def.name).chain(["resume"]);
    option_defs().find(|def| key.eq_ignore_ascii_case(def.name)).ok_or_else(|| Error::UnknownOption {
        option: key.to_owned(),
        suggestion: nearest(key, names()),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// Sets one option.
pub(super) fn set(spec: &mut ModelSpec, key: &str, value: &OptionValue) -> Result<()> {
    let def = def(key)?;
    (def.set)(spec, value).ok_or_else(|| invalid(def.name, value, def.expected()))
}

fn invalid(option: &str, value: &OptionValue, expected: String) -> Error {
    // Suggest the nearest of the quoted words in the description of the option.
    let words = expected.split('\'').skip(1).step_by(2);
    let suggestion = match value {
        OptionValue::Text(text) => nearest(text, words).filter(|word| !word.eq_ignore_ascii_case(text)),
        _ => None,
    };
    Error::InvalidOption { option: option.to_owned(), value: value.to_string(), expected, suggestion }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
