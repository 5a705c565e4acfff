//! The learning rate stays.

use super::{Definition, Schedule};

/// `schedule = 'constant'`.
pub const SCHEDULE: Schedule = Schedule(&Definition { name: "constant", factor: |_| 1.0 });
