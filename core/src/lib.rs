//! What both sides of Tusk say to each other.
//!
//! The scheduler (control plane) and the executors (data plane) never import each other: everything they share is
//! here, without libtorch, without an image decoder, and without either process's crate.
//!
//! * [`spec`]: what a model is to be, and the `OPTIONS (...)` that say so
//! * [`nets`]: the nets, their layers as data and the options that they are trained with
//! * [`sql`]: the statements, their grammar and their text
//! * [`physical`]: [`physical::TrainExec`], the operator that an epoch job runs, and the rows it answers with
//! * [`engine`]: the two traits behind which libtorch lives
//! * [`state`], [`manifest`], [`store`]: named tensors, what is known about a model, and where both are kept
//! * [`parameters`]: what workers and the parameter service say to each other
//! * [`report`]: what an executor tells the scheduler about itself
//! * [`codec`]: how plans travel between the processes
//! * [`transfer`]: what became of the weights that a run starts from
//! * [`metrics`]: ROC AUC and its neighbours, with bootstrap intervals

pub mod codec;
pub mod engine;
pub mod error;
pub mod event;
pub mod ids;
pub mod manifest;
pub mod metrics;
pub mod nets;
pub mod parameters;
pub mod physical;
pub mod plans;
pub mod random;
pub mod report;
pub mod spec;
pub mod sql;
pub mod state;
pub mod store;
mod tables_check;
pub mod transfer;

pub use error::{Error, Result};
