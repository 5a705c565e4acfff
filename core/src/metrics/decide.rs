//! Decides the class of a row from its probabilities, for `predict`, EVALUATE, validation and heat maps.

/// Returns whether a score is at or above the threshold. NaN is below every threshold.
#[must_use]
pub fn is_positive(score: f64, threshold: f64) -> bool {
    score >= threshold
}

/// Returns the class of a row. With two classes, `cut` is the index of the positive class and its threshold: the
/// positive class is chosen if its probability is at or above the threshold, else the other class. Without `cut`, the
/// class with the highest probability is chosen, the first one of equal probabilities. NaN is never the highest.
///
/// Returns `None` if all probabilities are NaN or, with `cut`, that of the positive class. `predict` then returns NULL,
/// metrics count the row as wrong (with two classes: as predicted negative), and the confusion matrix does not count
/// it.
#[must_use]
pub fn decide(probabilities: &[f32], cut: Option<(usize, f64)>) -> Option<usize> {
    if let Some((positive, threshold)) = cut {
        let score = probabilities.get(positive).copied().map(f64::from).filter(|score| !score.is_nan())?;
        return Some(if is_positive(score, threshold) { positive } else { 1 - positive.min(1) });
    }
    let numbers = probabilities.iter().enumerate().filter(|(_, probability)| !probability.is_nan());
    numbers.reduce(|highest, next| if next.1 > highest.1 { next } else { highest }).map(|(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_probabilities_is_chosen_and_nan_is_not() {
        assert_eq!(decide(&[0.5, 0.5], None), Some(0));
        assert_eq!(decide(&[0.2, 0.4, 0.4], None), Some(1));
        assert_eq!(decide(&[0.1, f32::NAN, 0.3], None), Some(2));
        assert_eq!(decide(&[f32::NAN, 0.0], None), Some(1));
        assert_eq!(decide(&[0.0, -0.0], None), Some(0));
    }

    #[test]
    fn the_positive_class_is_chosen_at_or_above_its_threshold() {
        for (positive, other) in [(0, 1), (1, 0)] {
            let class = |score: f32| {
                let mut probabilities = [1.0 - score; 2];
                probabilities[positive] = score;
                decide(&probabilities, Some((positive, 0.25)))
            };
            assert_eq!([0.24, 0.25, 0.26].map(class), [Some(other), Some(positive), Some(positive)]);
        }
    }

    #[test]
    fn without_a_number_there_is_no_class() {
        assert_eq!(decide(&[f32::NAN; 3], None), None);
        assert_eq!(decide(&[], None), None);
        assert_eq!(decide(&[0.5, f32::NAN], Some((1, 0.5))), None);
        assert_eq!(decide(&[], Some((1, 0.5))), None);
        assert!(!is_positive(f64::NAN, f64::NEG_INFINITY));
    }
}
