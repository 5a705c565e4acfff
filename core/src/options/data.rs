//! Options of the training table.

use super::accepts::{Number, Text, Unset};
use super::declare::options;

options! {
    /// Which columns of the table hold what.
    "Data" data: DataOptions {
        /// Column of the images: encoded bytes, or Spark's image struct.
        image: String = "image".to_owned(), Text("a column name"), [Fixed, Ensemble];
        /// Column of the classes: text, whole numbers or booleans.
        label: String = "label".to_owned(), Text("a column name"), [Fixed, Ensemble];
        /// Column whose rows stay together in a split (the patient).
        group: Option<String> = None, Unset("none", Text("a column name")), before None, [Fixed, Ensemble];
        /// Largest fraction of unreadable images before training fails.
        max_bad_fraction: f64 = 0.01, Number::From(0.0, 1.0), [Fixed];
    }
}
