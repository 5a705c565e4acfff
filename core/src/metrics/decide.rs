//! From probabilities to a class: the one rule behind `predict`, EVALUATE, validation and explanations.

/// Whether a score is called positive: from the threshold on. NaN is below every threshold.
#[must_use]
pub fn is_positive(score: f64, threshold: f64) -> bool {
    score >= threshold
}

/// The class that a row's probabilities decide on. `cut` is the index of the positive class and its threshold, where there
/// are two classes: the positive class from the threshold on, else the other one. Without a cut it is the class with the
/// highest probability, the first of equals; a NaN is never the highest.
///
/// `None` where there is nothing to decide on: no probability is a number or, with a cut, that of the positive class is
/// not. A class would claim that the model had seen something. So `predict` gives NULL, a metric counts the row as called
/// no class (of two classes: not called positive), and the confusion matrix has no cell for it.
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
    fn the_first_of_equals_is_the_likeliest_and_a_nan_never_is() {
        assert_eq!(decide(&[0.5, 0.5], None), Some(0));
        assert_eq!(decide(&[0.2, 0.4, 0.4], None), Some(1));
        assert_eq!(decide(&[0.1, f32::NAN, 0.3], None), Some(2));
        assert_eq!(decide(&[f32::NAN, 0.0], None), Some(1));
        assert_eq!(decide(&[0.0, -0.0], None), Some(0));
    }

    #[test]
    fn the_positive_class_is_decided_on_from_its_threshold_on_whichever_it_is() {
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
