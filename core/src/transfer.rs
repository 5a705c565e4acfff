//! The result of fitting initial weights to a net.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Maximum number of names shown.
const NAMES_SHOWN: usize = 6;

/// Maximum number of names of unused tensors that are kept.
pub const UNUSED_MAX: usize = 100;

/// Which tensors of a file fit a net, and which did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Number of tensors taken unchanged.
    pub taken: u32,
    /// First convolutions adapted to another number of channels.
    pub adapted: Vec<String>,
    /// Tensors that are missing in the file or have another shape. They start from random values.
    pub fresh: Vec<String>,
    /// Unused tensors of the file; at most [`UNUSED_MAX`].
    pub unused: Vec<String>,
}

impl Transfer {
    /// Returns whether any tensor of the file was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken == 0 && self.adapted.is_empty()
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tensors = self.taken as usize + self.adapted.len() + self.fresh.len();
        write!(f, "{} of {tensors} tensors taken", self.taken as usize + self.adapted.len())?;
        for (what, names) in [
            ("adapted to other channels", &self.adapted),
            ("new", &self.fresh),
            ("in the file and not used", &self.unused),
        ] {
            if !names.is_empty() {
                let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if names.len() > NAMES_SHOWN { ", ..." } else { "" };
                write!(f, "; {} {what} ({shown}{more})", names.len())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_that_do_not_fit_are_listed() {
        let names = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
        let all = Transfer { taken: 3, ..Transfer::default() };
        assert_eq!(all.to_string(), "3 of 3 tensors taken");
        let some = Transfer { taken: 3, adapted: names(1), fresh: names(2), unused: names(8) };
        assert_eq!(
            some.to_string(),
            "4 of 6 tensors taken; 1 adapted to other channels (t0); 2 new (t0, t1); \
             8 in the file and not used (t0, t1, t2, t3, t4, t5, ...)"
        );
        assert!(Transfer { fresh: names(2), ..Transfer::default() }.is_empty());
    }
}
