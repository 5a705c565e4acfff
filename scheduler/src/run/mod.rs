//! One training run, from its rows to its published model.

mod asynchronous;
mod attempts;
mod data;
mod epochs;
mod jobs;
mod progress;
mod request;
mod training;
mod transfer;
mod validation;

pub(crate) use jobs::explain;
pub use request::TrainingRequest;
pub(crate) use training::{Run, RunContext, unix_ms};
