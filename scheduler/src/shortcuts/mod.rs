//! Shortcuts: what has nothing to do with the subject of an image and yet tells its class.
//!
//! A net that is trained on such images may learn the shortcut, and fails where it is absent. A **nuisance** is a number or a
//! word per image: one of those in `nuisances.rs`, or another column of the table. A **probe** is a linear model that sees only
//! a part of what is in an image, one of those in `probes.rs`. Both are judged by the ROC AUC with which they tell one class
//! from the others. Words and probes are fitted on four fifths of the groups and judged on the other fifth, five times.
//!
//! Whether a trained model follows a nuisance is measured in `run/uses.rs`.

mod batch;
mod file;
mod linear;
mod measure;
mod nuisances;
mod probes;
mod read;
mod sample;
mod thumbnail;

pub use file::shortcuts_of_file;
pub use read::Found;
pub(crate) use read::{find, nuisances};
