//! Training modes: one file each, one line each in [`MODES`].
//!
//! A mode says how the workers of a run exchange what they learned.

pub mod asynchronous;
pub mod hogwild;
pub mod synchronous;

use crate::registry::registered;

/// Every mode, in the order of the documentation.
pub const MODES: &[Mode] = &[synchronous::MODE, asynchronous::MODE, hogwild::MODE];

registered! {
    /// How the workers of a run exchange what they learned: one of [`MODES`].
    Mode, Definition, MODES
}

/// What a mode is.
struct Definition {
    /// The value of the option `mode`.
    name: &'static str,
    /// How workers exchange weights.
    exchange: Exchange,
}

/// How workers exchange weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// They wait for the mean of all.
    Mean,
    /// They wait for nobody: each pulls weights from the parameter server, and pushes how it changed them.
    ParameterServer {
        /// Whether the server applies one push at a time. Otherwise pushes that meet are mixed tensor by tensor.
        is_exclusive: bool,
    },
}

impl Mode {
    /// How workers exchange weights.
    #[must_use]
    pub const fn exchange(self) -> Exchange {
        self.0.exchange
    }

    /// Whether workers wait for the mean of all.
    #[must_use]
    pub fn takes_mean(self) -> bool {
        self.exchange() == Exchange::Mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_written_as_its_name() {
        assert_eq!(Mode::NAMES, ["synchronous", "asynchronous", "hogwild"]);
        for mode in MODES {
            let text = serde_json::to_string(mode).unwrap();
            assert_eq!(text, format!("\"{mode}\""));
            assert_eq!(serde_json::from_str::<Mode>(&text).unwrap(), *mode);
            assert_eq!(Mode::from_name(&mode.name().to_uppercase()), Some(*mode));
        }
        assert_eq!(Mode::from_name("local"), None);
    }
}
