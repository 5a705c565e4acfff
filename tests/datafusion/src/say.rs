//! What the command prints.

use std::io::{Write, stdout};

/// Prints a line. A reader that is gone does not end the run.
pub(crate) fn say(line: &str) {
    drop(writeln!(stdout().lock(), "{line}"));
}
