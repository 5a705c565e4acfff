//! The confusion matrix of any number of classes, and averages over the classes.

use super::Confusion;
use super::confusion::ratio;
use super::roc::Ranking;

/// Counts of decisions between classes 0 to n - 1.
///
/// The `macro` metrics are the plain mean of the metric of each class against all the others, over the classes for
/// which it is defined (scikit-learn's `average="macro", zero_division=nan`); `None` where it is defined for none. A
/// truth outside the classes is not a positive of any class, and a decision outside the classes is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiConfusion {
    rows: u64,
    classes: Vec<Class>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Class {
    right: u64,
    truly: u64,
    predicted: u64,
}

impl MultiConfusion {
    /// Makes an empty matrix of `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { rows: 0, classes: vec![Class::default(); classes] }
    }

    /// Counts `rows` more rows of class `truth` that were predicted as `predicted`.
    pub fn add(&mut self, truth: usize, predicted: usize, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
        if let Some(class) = self.classes.get_mut(truth) {
            class.truly = class.truly.saturating_add(rows);
        }
        if let Some(class) = self.classes.get_mut(predicted) {
            class.predicted = class.predicted.saturating_add(rows);
            if truth == predicted {
                class.right = class.right.saturating_add(rows);
            }
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The counts of each class against all the others, in the order of the classes.
    pub fn per_class(&self) -> impl Iterator<Item = Confusion> {
        self.classes.iter().map(|class| {
            let (fp, fn_) = (class.predicted.saturating_sub(class.right), class.truly.saturating_sub(class.right));
            let tn = self.rows.saturating_sub(class.right).saturating_sub(fp).saturating_sub(fn_);
            Confusion { tp: class.right, fp, tn, fn_ }
        })
    }

    /// The fraction of rows that were classified correctly; `None` without rows.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.classes.iter().map(|class| class.right as f64).sum(), self.rows as f64)
    }

    /// The mean of the classes' [`Confusion::precision`].
    pub fn macro_precision(&self) -> Option<f64> {
        mean(self.per_class().filter_map(|class| class.precision()))
    }

    /// The mean of the classes' [`Confusion::recall`], which is balanced accuracy for any number of classes.
    pub fn macro_recall(&self) -> Option<f64> {
        mean(self.per_class().filter_map(|class| class.recall()))
    }

    /// The mean of the classes' [`Confusion::specificity`].
    pub fn macro_specificity(&self) -> Option<f64> {
        mean(self.per_class().filter_map(|class| class.specificity()))
    }

    /// The mean of the classes' [`Confusion::f1`].
    pub fn macro_f1(&self) -> Option<f64> {
        mean(self.per_class().filter_map(|class| class.f1()))
    }
}

/// The area under the ROC curve of each class against all the others, averaged over the classes that have rows.
///
/// `truth` is one class index per row, `probs` the scores, rows x classes, row-major. A class without rows, or with
/// all of them, has no curve and is left out (scikit-learn refuses such data); `None` where that leaves none, where a
/// score is NaN, and where the shapes disagree.
pub fn roc_auc_ovr(truth: &[usize], probs: &[f32], classes: usize) -> Option<f64> {
    auc_ovr(&rank_classes(truth, probs, classes)?, |_| 1)
}

/// The rows ranked by the score of each class; `None` where a score is NaN or the shapes disagree.
pub(super) fn rank_classes(truth: &[usize], probs: &[f32], classes: usize) -> Option<Vec<Ranking>> {
    if classes == 0 || truth.len().checked_mul(classes) != Some(probs.len()) {
        return None;
    }
    let rank = |class: usize| {
        let column: Vec<f64> = probs.iter().skip(class).step_by(classes).map(|&score| f64::from(score)).collect();
        Ranking::new(&column, |row| truth[row] == class)
    };
    (0..classes).map(rank).collect()
}

/// The mean of the rankings' areas when row r counts `weight(r)` times.
pub(super) fn auc_ovr(rankings: &[Ranking], weight: impl Fn(usize) -> u64) -> Option<f64> {
    mean(rankings.iter().filter_map(|ranking| ranking.auc(&weight)))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    ratio(sum, f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_give_the_binary_counts_of_both_classes() {
        let mut counts = MultiConfusion::new(2);
        for (truth, predicted, rows) in [(1, 1, 6), (0, 1, 2), (0, 0, 10), (1, 0, 3)] {
            counts.add(truth, predicted, rows);
        }
        let sides: Vec<Confusion> = counts.per_class().collect();
        assert_eq!(sides[1], Confusion { tp: 6, fp: 2, tn: 10, fn_: 3 });
        assert_eq!(sides[0], Confusion { tp: 10, fp: 3, tn: 6, fn_: 2 });
        assert_eq!(counts.rows(), 21);
        assert_eq!(counts.accuracy(), sides[0].accuracy());
        assert_eq!(counts.macro_recall(), sides[1].balanced_accuracy());
        assert_eq!(counts.macro_recall(), counts.macro_specificity());
    }

    #[test]
    fn without_rows_there_is_no_metric() {
        for classes in [0, 3] {
            let none = MultiConfusion::new(classes);
            let values = [
                none.accuracy(),
                none.macro_precision(),
                none.macro_recall(),
                none.macro_specificity(),
                none.macro_f1(),
            ];
            assert_eq!(values, [None; 5]);
        }
    }

    #[test]
    fn an_index_outside_the_classes_counts_as_wrong_for_no_class() {
        let mut counts = MultiConfusion::new(2);
        counts.add(0, 0, 1);
        counts.add(1, 9, 1);
        counts.add(9, 1, 1);
        counts.add(9, 9, 1);
        assert_eq!(counts.accuracy(), Some(0.25));
        assert_eq!(counts.per_class().nth(1), Some(Confusion { tp: 0, fp: 1, tn: 2, fn_: 1 }));
    }

    #[test]
    fn shapes_that_disagree_have_no_area() {
        assert_eq!(roc_auc_ovr(&[0, 1], &[0.1, 0.9, 0.8], 2), None);
        assert_eq!(roc_auc_ovr(&[0, 1], &[], 0), None);
        assert_eq!(roc_auc_ovr(&[], &[], 2), None);
        assert_eq!(roc_auc_ovr(&[0, 1], &[0.1, 0.9, f32::NAN, 0.2], 2), None);
        assert_eq!(roc_auc_ovr(&[0, 0], &[0.1, 0.9, 0.3, 0.7], usize::MAX), None);
    }

    #[test]
    fn a_class_without_rows_is_left_out_of_the_area() {
        let with_a_third = [0.9, 0.1, 0.0, 0.8, 0.1, 0.1, 0.3, 0.5, 0.2];
        assert_eq!(roc_auc_ovr(&[0, 0, 1], &with_a_third, 3), Some(1.0));
        assert_eq!(roc_auc_ovr(&[0, 0, 0], &with_a_third, 3), None);
    }
}
