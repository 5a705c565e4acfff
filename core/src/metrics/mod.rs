//! Figures of merit of classifiers.
