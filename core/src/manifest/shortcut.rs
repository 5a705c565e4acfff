//! Shortcuts: what has nothing to do with the subject of the images and yet tells their classes apart.

use serde::{Deserialize, Serialize};

use crate::metrics::Interval;

/// The ROC AUC from which a shortcut is reported and comes with advice. Below it, a net learns little from it.
pub const SHORTCUT_BOUND: f64 = 0.7;

/// Number of shortcuts, or of uses, that a summary names.
const NAMED_MAX: usize = 3;

/// A nuisance or a probe, and how well it alone tells a class from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shortcut {
    /// Its name.
    pub name: String,
    /// ROC AUC, at least 0.5 for a number, which may be high or low for the class.
    pub roc_auc: Interval,
    /// The class that it tells from the others best.
    pub class: String,
    /// Whether the subject itself may be what it sees. Then it is neither warned of nor refused.
    pub may_be_subject: bool,
    /// What to do about it.
    pub advice: String,
}

impl Shortcut {
    /// Returns whether its ROC AUC is [`SHORTCUT_BOUND`] or more.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.roc_auc.value.is_some_and(|value| value >= SHORTCUT_BOUND)
    }
}

/// Names the strongest shortcuts that are not the subject, the best first. `None` if none is strong.
#[must_use]
pub fn strong_shortcuts(shortcuts: &[Shortcut]) -> Option<String> {
    let strong = shortcuts.iter().filter(|shortcut| shortcut.is_strong() && !shortcut.may_be_subject);
    named(strong.map(|shortcut| format!("{} (ROC AUC {:.3})", shortcut.name, shortcut.roc_auc.value.unwrap_or(0.0))))
}

/// Lists the first names and counts the others. `None` without names.
pub(super) fn named(names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    let first = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    (!names.is_empty()).then(|| format!("{first}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortcut(name: &str, value: f64) -> Shortcut {
        let roc_auc = Interval { value: Some(value), ..Interval::default() };
        Shortcut { name: name.to_owned(), roc_auc, class: String::new(), may_be_subject: false, advice: String::new() }
    }

    #[test]
    fn the_strongest_shortcuts_are_named_and_the_others_counted() {
        assert_eq!(strong_shortcuts(&[]), None);
        assert_eq!(strong_shortcuts(&[shortcut("width", 0.699)]), None);
        let mut found = vec![shortcut("width", 0.95), shortcut("height", 0.7), shortcut("bytes", 0.6)];
        assert_eq!(strong_shortcuts(&found).as_deref(), Some("width (ROC AUC 0.950), height (ROC AUC 0.700)"));
        found.push(Shortcut { may_be_subject: true, ..shortcut("coarse layout", 1.0) });
        found.splice(0..0, ["a", "b", "c"].map(|name| shortcut(name, 1.0)));
        let named = "a (ROC AUC 1.000), b (ROC AUC 1.000), c (ROC AUC 1.000), and 2 more";
        assert_eq!(strong_shortcuts(&found).as_deref(), Some(named));
    }
}
