//! The control plane: training runs, the aggregator, and the scheduler they live in. No libtorch here.
//!
//! From the top down, each module uses only those below it:
//!
//! * `node`: a [`SchedulerNode`] is Ballista's scheduler with everything of ours on the same port, such as Flight SQL and the
//!   placement of tasks
//! * `statements`: the statements about models, one file per verb
//! * `session`: a [`Session`] has the catalog of a client
//! * `service`: the [`TrainingService`] starts, watches and cancels runs
//! * `search`: runs that consist of runs, for cross-validation and hyperparameter search
//! * `run`: one run. It submits a job for its profile, then jobs that train an epoch and one that validates it, averages the
//!   workers' outputs ([`Aggregator`]), decides what comes next, and publishes the model
//! * `parameter_server`: workers that do not wait for each other exchange weights here
//! * `access`: users and their rights

mod access;
mod error;
mod executors;
mod metrics;
mod node;
mod opaque;
mod parameter_server;
mod run;
mod search;
mod service;
mod session;
mod statements;

pub use error::{Error, Result, Results};
pub use executors::{Executors, SharedExecutors};
pub use node::catalog::Catalog;
pub use node::flags;
pub use node::{NodeSettings, SchedulerNode};
pub use run::aggregator::Aggregator;
pub use service::{RunHandle, TrainingService};
pub use session::{Rows, Session, SessionSettings, Training};
pub use statements::{EvaluateOptions, Evaluation, check, evaluate, help};
