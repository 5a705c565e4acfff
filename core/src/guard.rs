//! Decoding of bytes that another process sent.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use datafusion::error::Result;

use crate::error::Error;
use crate::tables_check::check_tables;

pub(crate) fn wire(what: &'static str, reason: &dyn Display) -> Error {
    Error::Wire { what, reason: reason.to_string() }
}

/// Decodes bytes from another process and converts a panic to an error. The IPC reader of Arrow and parts of DataFusion
/// panic on some invalid bytes, for example on an in-memory table with a flipped bit. The panic message is still
/// printed to stderr. The closure leaves no state behind that a panic could corrupt.
pub(crate) fn guarded<T>(what: &'static str, bytes: &[u8], read: impl FnOnce() -> Result<T>) -> Result<T> {
    check_tables(bytes).map_err(|reason| wire(what, &reason))?;
    caught(what, read)
}

/// Decodes bytes that have been checked.
pub(crate) fn caught<T>(what: &'static str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(wire(what, &panic_text(panic.as_ref())).into()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("its reader panicked: {}", text.unwrap_or("no reason given"))
}
