//! What the outcome of a record says about Tusk, given DataFusion's own outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::records::{FailureKind, Outcome, Tested};
use crate::rules::Rules;

/// The verdict on a record that DataFusion itself passes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    /// It passes.
    Passed,
    /// It is refused, as the file expects, with an error of Tusk's own words.
    OtherText,
    /// An EXPLAIN that shows Tusk's plan.
    Explain,
    /// It fails, and an exception says why.
    Exception,
    /// An error instead of rows.
    Error,
    /// Other rows.
    OtherRows,
    /// The same rows as other types.
    OtherTypes,
    /// Rows instead of an error.
    Answer,
}

impl Verdict {
    pub(crate) const ALL: [Self; 8] = [
        Self::Passed,
        Self::OtherText,
        Self::Explain,
        Self::Exception,
        Self::Error,
        Self::OtherRows,
        Self::OtherTypes,
        Self::Answer,
    ];

    /// The name in the file of results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::OtherText => "other_text",
            Self::Explain => "explain",
            Self::Exception => "exception",
            Self::Error => "error",
            Self::OtherRows => "other_rows",
            Self::OtherTypes => "other_types",
            Self::Answer => "answer",
        }
    }

    /// What it means.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::OtherText => "refused as expected, in other words",
            Self::Explain => "EXPLAIN with another plan",
            Self::Exception => "documented exceptions",
            Self::Error => "error instead of rows",
            Self::OtherRows => "other rows",
            Self::OtherTypes => "same rows, other types",
            Self::Answer => "rows instead of an error",
        }
    }

    /// Whether the record agrees with DataFusion.
    pub(crate) fn agrees(self) -> bool {
        matches!(self, Self::Passed | Self::OtherText)
    }

    /// Whether the record is compared with DataFusion at all.
    pub(crate) fn counts(self) -> bool {
        !matches!(self, Self::Explain | Self::Exception)
    }
}

/// The number of records with each verdict.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally(BTreeMap<Verdict, usize>);

impl Tally {
    pub(crate) fn add(&mut self, verdict: Verdict, records: usize) {
        *self.0.entry(verdict).or_default() += records;
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(verdict, records)| self.add(*verdict, *records));
    }

    pub(crate) fn of(&self, verdict: Verdict) -> usize {
        self.0.get(&verdict).copied().unwrap_or_default()
    }

    fn sum(&self, holds: impl Fn(Verdict) -> bool) -> usize {
        self.0.iter().filter(|(verdict, _)| holds(**verdict)).map(|(_, records)| records).sum()
    }

    /// The records that DataFusion passes.
    pub(crate) fn records(&self) -> usize {
        self.sum(|_| true)
    }

    /// The records that are compared with DataFusion.
    pub(crate) fn compared(&self) -> usize {
        self.sum(Verdict::counts)
    }

    /// The compared records that agree with DataFusion.
    pub(crate) fn agreeing(&self) -> usize {
        self.sum(Verdict::agrees)
    }

    pub(crate) fn failing(&self) -> usize {
        self.compared() - self.agreeing()
    }

    /// The share of the compared records that agree, in percent.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.agreeing() as f64 / self.compared().max(1) as f64
    }

    /// Whether an engine reaches its bar.
    pub(crate) fn reaches(&self, engine: Engine) -> bool {
        self.of(Verdict::OtherRows) == 0 && self.agreeing() * 1000 >= self.compared() * engine.bar_permille()
    }
}

/// A record that fails and is no exception.
pub(crate) struct Failing {
    pub(crate) engine: Engine,
    pub(crate) verdict: Verdict,
    pub(crate) place: String,
    pub(crate) sql: String,
    pub(crate) message: String,
}

/// The verdicts on a file, or on several.
#[derive(Default)]
pub(crate) struct Judged {
    pub(crate) tallies: BTreeMap<(Engine, PathBuf), Tally>,
    pub(crate) failing: Vec<Failing>,
    /// The exceptions that covered a record, by their place in the rules.
    pub(crate) used: BTreeSet<usize>,
}

impl Judged {
    pub(crate) fn add(&mut self, other: Self) {
        self.tallies.extend(other.tallies);
        self.failing.extend(other.failing);
        self.used.extend(other.used);
    }

    /// The sum over the files.
    pub(crate) fn total(&self, engine: Engine) -> Tally {
        let mut total = Tally::default();
        self.tallies.iter().filter(|((of, _), _)| *of == engine).for_each(|(_, tally)| total.add_all(tally));
        total
    }

    /// Judges an engine's outcomes of a file by DataFusion's own.
    pub(crate) fn judge(
        &mut self,
        rules: &Rules,
        engine: Engine,
        file: &Path,
        datafusion: &[Tested],
        tusk: Vec<Tested>,
    ) {
        let tally = self.tallies.entry((engine, file.to_owned())).or_default();
        for (expected, tested) in datafusion.iter().zip(tusk) {
            if !matches!(expected.outcome, Outcome::Passed) {
                continue;
            }
            let Outcome::Failed(failure) = tested.outcome else {
                tally.add(Verdict::Passed, 1);
                continue;
            };
            let verdict = match failure.kind {
                FailureKind::OtherText => Verdict::OtherText,
                FailureKind::OtherRows if is_explain(&tested.sql) => Verdict::Explain,
                kind => match rules.exception(engine, file, &tested.sql) {
                    Some(exception) => {
                        self.used.insert(exception);
                        Verdict::Exception
                    }
                    None => failing(kind),
                },
            };
            tally.add(verdict, 1);
            if verdict.counts() && !verdict.agrees() {
                let (place, sql) = (tested.place, tested.sql);
                self.failing.push(Failing { engine, verdict, place, sql, message: failure.message });
            }
        }
    }
}

fn failing(kind: FailureKind) -> Verdict {
    match kind {
        FailureKind::Error => Verdict::Error,
        FailureKind::OtherRows => Verdict::OtherRows,
        FailureKind::OtherTypes => Verdict::OtherTypes,
        FailureKind::Answer => Verdict::Answer,
        FailureKind::OtherText => Verdict::OtherText,
    }
}

fn is_explain(sql: &str) -> bool {
    sql.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("EXPLAIN"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Failure;

    fn tested(sql: &str, failure: Option<FailureKind>) -> Tested {
        let failed = |kind| Outcome::Failed(Failure { kind, message: String::new() });
        Tested { place: "a.slt:1".to_owned(), sql: sql.to_owned(), outcome: failure.map_or(Outcome::Passed, failed) }
    }

    #[test]
    fn only_records_that_datafusion_passes_are_judged() {
        let datafusion = [
            tested("SELECT 1", None),
            tested("SELECT 2", Some(FailureKind::Error)),
            tested("EXPLAIN SELECT 3", None),
            tested("SELECT 4", None),
            tested("SELECT 5", None),
        ];
        let tusk = vec![
            tested("SELECT 1", None),
            tested("SELECT 2", Some(FailureKind::OtherRows)),
            tested("EXPLAIN SELECT 3", Some(FailureKind::OtherRows)),
            tested("SELECT 4", Some(FailureKind::OtherRows)),
            tested("SELECT 5", Some(FailureKind::OtherText)),
        ];
        let rules = Rules { subset: Vec::new(), skipped: Vec::new(), exceptions: Vec::new() };
        let mut judged = Judged::default();
        judged.judge(&rules, Engine::Cluster, Path::new("a.slt"), &datafusion, tusk);
        let total = judged.total(Engine::Cluster);
        assert_eq!((total.records(), total.compared(), total.agreeing()), (4, 3, 2));
        assert_eq!(judged.failing.len(), 1);
        assert!(!total.reaches(Engine::Cluster));
        assert_eq!(judged.total(Engine::Embedded), Tally::default());
    }

    #[test]
    fn a_bar_is_reached_at_its_share_and_without_other_rows() {
        let mut tally = Tally::default();
        tally.add(Verdict::Passed, 995);
        tally.add(Verdict::Error, 5);
        assert!(tally.reaches(Engine::Cluster) && !tally.reaches(Engine::Embedded));
        tally.add(Verdict::Passed, 100_000);
        tally.add(Verdict::OtherRows, 1);
        assert!(!tally.reaches(Engine::Cluster));
    }
}
