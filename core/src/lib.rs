//! Types shared by the scheduler, the executors and the client.
//!
//! The crates of the scheduler (control plane) and the executor (data plane) do not depend on each other. Everything
//! that they share is here. This crate depends neither on libtorch nor on an image decoder.
//!
//! * [`options`]: the options of CREATE MODEL: `USING architecture OPTIONS (...)`
//! * [`nets`]: the nets, their layers as data and their default options
//! * [`sql`]: the parser of statements
//! * [`job`]: the jobs of a run, each with its input, report and output arrays
//! * [`physical`]: [`physical::TrainExec`], the operator that runs a job, and its task output
//! * [`engine`]: the traits that the executor implements with libtorch; [`task_models`]: the models of tasks that are
//!   launched together
//! * [`state`], [`manifest`], [`store`]: named tensors, manifests and run records, and the model store
//! * [`protocol`]: the messages between processes besides plans
//! * [`codec`]: the encoding of plans
//! * [`augment`]: the transforms of augmentation
//! * [`mode`], [`schedule`], [`outer_optimizer`]: training modes, learning-rate schedules and outer optimizers
//! * [`cause`]: the cause of a failed query or task; [`results`]: the result rows of a statement
//! * [`transfer`]: which initial weights fit the net of a run
//! * [`metrics`]: metrics with bootstrap intervals
//! * [`nuisances`]: what has nothing to do with the subject of images, by image

pub mod augment;
pub mod cause;
pub mod codec;
pub mod engine;
pub mod error;
pub mod event;
mod guard;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod metrics;
pub mod mode;
pub mod nets;
pub mod nuisances;
pub mod options;
pub mod outer_optimizer;
pub mod physical;
pub mod plans;
pub mod protocol;
pub mod random;
mod registry;
pub mod results;
pub mod schedule;
pub mod sql;
pub mod state;
pub mod store;
mod tables_check;
pub mod task_models;
pub mod transfer;

pub use error::{Error, Result};
