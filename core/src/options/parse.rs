//! Parses the options of a statement into a spec.

use super::accepts::{Accepts, Flag};
use super::search::{self, Values};
use super::set::{def, invalid, set};
use super::{Architecture, ModelSpec, OptionValue, distribution, input, net, split, start};
use crate::error::{Error, Result};

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
    input::check(&spec)?;
    net::check(&spec, is_given)?;
    split::check(&spec, is_given)?;
    search::check(&spec, is_given)?;
    Ok((spec, resume))
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
