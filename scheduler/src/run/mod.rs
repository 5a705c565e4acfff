//! One training run, from its rows to its published model.

pub(crate) mod active;
pub(crate) mod adaptation;
pub(crate) mod aggregator;
mod asynchronous;
mod attempts;
pub(crate) mod children;
mod data;
mod epochs;
mod job;
pub(crate) mod job_runner;
mod leak;
mod progress;
mod publish;
mod training;
mod transfer;
mod uses;
mod validation;

pub(crate) use job::explain;
pub(crate) use publish::Learned;
pub(crate) use training::{Run, RunContext, begun, unix_ms};
pub(crate) use uses::{KnownRows, uses_of_run};
pub(crate) use validation::{BOOTSTRAP_SEED, RESAMPLES, Validation};
