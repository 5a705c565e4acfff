//! Computes class probabilities and heat maps of images.

pub(crate) mod predictor;
pub(crate) mod scorer;
#[cfg(test)]
mod scorer_tests;
