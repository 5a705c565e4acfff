//! How far the scores of a model follow nuisances.

use serde::{Deserialize, Serialize};

use super::shortcut::named;
use crate::metrics::Interval;

/// The correlation from which a score is said to follow a nuisance.
pub const USE_BOUND: f64 = 0.3;

/// Maximum number of uses in a manifest or in the record of an evaluation.
pub const USES_MAX: usize = 100;

/// How far the score of a model follows a nuisance among the rows of one class.
///
/// The score is the probability of the positive class, or, of more than two classes, of the class of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NuisanceUse {
    /// The name of the nuisance: `width`, or `format = png` for one of its words.
    pub nuisance: String,
    /// The true class of the rows.
    pub class: String,
    /// Number of the rows.
    pub rows: u64,
    /// Spearman's rank correlation of the score and the nuisance; of a word, the rank-biserial correlation. `None` if the
    /// nuisance or the score is the same in all rows. Its bounds are `None` if there are too few rows.
    pub correlation: Interval,
}

/// What a correlation and its interval say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no correlation.
    Same,
    /// There is no interval.
    TooFew,
    /// The whole interval is at or above [`USE_BOUND`].
    Rises,
    /// The whole interval is at or below minus [`USE_BOUND`].
    Falls,
    /// The whole interval is between minus [`USE_BOUND`] and [`USE_BOUND`].
    Independent,
    /// The interval includes one of the bounds.
    Undecided,
}

impl Verdict {
    /// Returns what EVALUATE prints.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Same => "it or the score is the same in all images",
            Self::TooFew => "too few images to tell",
            Self::Rises => "the score rises with it",
            Self::Falls => "the score falls with it",
            Self::Independent => "the score does not follow it",
            Self::Undecided => "undecided; more images would tell",
        }
    }
}

impl NuisanceUse {
    /// Returns what the correlation and its interval say.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.correlation.value, self.correlation.low, self.correlation.high) {
            (None, _, _) => Verdict::Same,
            (_, Some(low), _) if low >= USE_BOUND => Verdict::Rises,
            (_, _, Some(high)) if high <= -USE_BOUND => Verdict::Falls,
            (_, Some(low), Some(high)) if low > -USE_BOUND && high < USE_BOUND => Verdict::Independent,
            (_, Some(_), Some(_)) => Verdict::Undecided,
            _ => Verdict::TooFew,
        }
    }

    /// Returns whether the whole interval is at or beyond [`USE_BOUND`], in either direction.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        matches!(self.verdict(), Verdict::Rises | Verdict::Falls)
    }
}

/// Sorts uses, the strongest first. Those without a correlation are last.
pub fn sort_uses(uses: &mut [NuisanceUse]) {
    let strength = |one: &NuisanceUse| one.correlation.value.map_or(-1.0, f64::abs);
    uses.sort_by(|a, b| strength(b).total_cmp(&strength(a)));
}

/// Names the strongest of sorted uses. `None` if none is strong.
#[must_use]
pub fn strong_uses(uses: &[NuisanceUse]) -> Option<String> {
    let strong = uses.iter().filter(|one| one.is_strong());
    named(strong.map(|one| {
        let value = one.correlation.value.unwrap_or(0.0);
        format!("{} in {} (rank correlation {value:.2})", one.nuisance, one.class)
    }))
}

/// Summarises sorted uses: names the strong ones, or says that there are none, or that there are too few rows.
#[must_use]
pub fn summary_of_uses(uses: &[NuisanceUse]) -> String {
    let is_measured = uses.iter().any(|one| one.correlation.low.is_some());
    let nothing = if is_measured { "none" } else { "too few rows" };
    strong_uses(uses).unwrap_or_else(|| nothing.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(nuisance: &str, value: Option<f64>, bounds: Option<(f64, f64)>) -> NuisanceUse {
        let correlation = Interval { value, low: bounds.map(|(low, _)| low), high: bounds.map(|(_, high)| high) };
        NuisanceUse { nuisance: nuisance.to_owned(), class: "NORMAL".to_owned(), rows: 80, correlation }
    }

    #[test]
    fn the_verdict_depends_on_where_the_interval_lies() {
        for (bounds, verdict) in [
            ((0.3, 0.7), Verdict::Rises),
            ((-0.9, -0.3), Verdict::Falls),
            ((-0.29, 0.29), Verdict::Independent),
            ((0.1, 0.6), Verdict::Undecided),
            ((-0.6, 0.6), Verdict::Undecided),
            ((f64::NAN, 0.2), Verdict::Undecided),
        ] {
            assert_eq!(one("width", Some(0.5), Some(bounds)).verdict(), verdict, "{bounds:?}");
        }
        assert_eq!(one("width", Some(0.9), None).verdict(), Verdict::TooFew);
        assert_eq!(one("width", None, None).verdict(), Verdict::Same);
    }

    #[test]
    fn a_summary_names_what_the_score_follows() {
        assert_eq!(summary_of_uses(&[]), "too few rows");
        let weak = one("width", Some(0.1), Some((0.0, 0.2)));
        assert_eq!(summary_of_uses(&[weak.clone(), one("bytes", Some(0.8), None)]), "none");
        let mut uses = vec![
            one("format", None, None),
            weak,
            one("corner level", Some(-0.62), Some((-0.7, -0.5))),
            one("border level", Some(0.71), Some((0.6, 0.8))),
        ];
        sort_uses(&mut uses);
        let named = "border level in NORMAL (rank correlation 0.71), corner level in NORMAL (rank correlation -0.62)";
        assert_eq!(summary_of_uses(&uses), named);
        assert_eq!(uses.last().unwrap().nuisance, "format");
    }
}
