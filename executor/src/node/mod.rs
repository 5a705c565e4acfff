//! Runs an executor: as the process `tusk-executor`, inside another process, or as a plugin of another executor.

mod connections;
pub(crate) mod embedded;
pub(crate) mod error;
pub mod flags;
pub(crate) mod plugin;
mod ports;
pub(crate) mod process;
pub(crate) mod reporter;
mod stage;
pub mod version;
