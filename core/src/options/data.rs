//! Options of the training table.

use super::OnShortcut;
use super::accepts::{Number, Quoted, Text, Unset};
use super::declare::options;

options! {
    /// The columns of the training table.
    "Data" data: DataOptions {
        /// Column of the images: encoded bytes, or Spark's image struct.
        image: String = "image".to_owned(), Text("a column name"), [Fixed, Ensemble];
        /// Column of the classes: text, whole numbers or booleans.
        label: String = "label".to_owned(), Text("a column name"), [Fixed, Ensemble];
        /// Column of the group, such as the patient. Rows of one group stay together in a split.
        group: Option<String> = None, Unset("none", Text("a column name")), before None, [Fixed, Ensemble];
        /// Maximum fraction of unreadable images; training fails if there are more.
        max_bad_fraction: f64 = 0.01, Number::From(0.0, 1.0), [Fixed];
        /// What to do with shortcuts: what has nothing to do with the subject of the images and yet tells their classes
        /// apart, as SHOW SHORTCUTS measures it. With 'ignore', it is not measured what the model uses, either.
        on_shortcut: OnShortcut = OnShortcut::Warn, Quoted, before OnShortcut::Ignore, [Fixed];
    }
}
