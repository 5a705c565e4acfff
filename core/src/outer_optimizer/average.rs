//! The mean of the workers is the next version.

use super::{Definition, OuterOptimizer, Rule};

/// `outer_optimizer = 'average'`.
pub const OUTER_OPTIMIZER: OuterOptimizer =
    OuterOptimizer(&Definition { name: "average", options: &[], rule: Rule::Mean });
