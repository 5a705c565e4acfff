//! What both sides of Tusk say to each other.
//!
//! The scheduler (control plane) and the executors (data plane) never import each other: everything they share is
//! here, without libtorch, without an image decoder, and without either process's crate.
//!
//! * [`options`]: what a model is to be: `USING architecture OPTIONS (...)`
//! * [`nets`]: the nets, their layers as data and the options that they are trained with
//! * [`sql`]: the statements, their grammar and their text
//! * [`job`]: the jobs of a run, each with its input, its report and the arrays it answers with
//! * [`physical`]: [`physical::TrainExec`], the operator that runs a job, and the rows it answers with
//! * [`engine`]: the two traits behind which libtorch lives; [`task_models`]: what tasks predict with, read once
//! * [`state`], [`manifest`], [`store`]: named tensors, what is known about a model, and where both are kept
//! * [`protocol`]: what the processes say to each other beside plans: tickets, actions, headers and their messages
//! * [`codec`]: how plans travel between the processes
//! * [`augment`]: the random changes to training images
//! * [`mode`], [`schedule`], [`outer_optimizer`]: how workers exchange weights, how the learning rate moves, and what becomes
//!   of the mean of the workers
//! * [`cause`]: why a query or a task failed, through whatever it was wrapped in; [`results`]: the rows of a statement
//! * [`transfer`]: what became of the weights that a run starts from
//! * [`metrics`]: ROC AUC and its neighbours, with bootstrap intervals

pub mod augment;
pub mod cause;
pub mod codec;
pub mod engine;
pub mod error;
pub mod event;
pub mod ids;
pub mod job;
pub mod manifest;
pub mod metrics;
pub mod mode;
pub mod nets;
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
