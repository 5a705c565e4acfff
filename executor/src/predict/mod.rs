//! Scores of images by trained nets.

pub(crate) mod predictor;
pub(crate) mod scorer;
#[cfg(test)]
mod scorer_tests;
