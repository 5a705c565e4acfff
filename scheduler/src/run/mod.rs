//! One training run, from its rows to its published model.

mod asynchronous;
mod attempts;
mod data;
mod epochs;
mod progress;
mod request;
mod training;
mod validation;

pub use request::TrainingRequest;
pub(crate) use training::{Run, RunContext, explain, unix_ms};
