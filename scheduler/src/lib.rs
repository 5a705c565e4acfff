//! The scheduler of a cluster, with its training runs and the aggregator. It does not use libtorch.
//!
//! The modules from top to bottom. Each uses only modules below it:
//!
//! * `node`: a [`SchedulerNode`] is Ballista's scheduler together with what Tusk adds, such as Flight SQL on the same
//!   port and the placement of tasks
//! * `statements`: the statements about models, one file per statement
//! * `shortcuts`: what tells the classes apart and has nothing to do with the subject. It reads the rows of a session, and
//!   `session` uses it when a run is requested
//! * `session`: a [`Session`] has the catalog of a client
//! * `service`: the [`TrainingService`] starts, watches and cancels runs
//! * `search`: runs that consist of child runs, for cross-validation and search
//! * `run`: one run. It submits a profile job, then jobs that train and validate an epoch. It averages the workers'
//!   task outputs ([`Aggregator`]), decides what comes next, and publishes the model
//! * `parameter_server`: workers that do not wait for each other exchange weights here
//! * `access`: users and their rights

mod access;
mod blocking;
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
mod shortcuts;
mod statements;

pub use error::{Error, Result, Results};
pub use executors::{Executors, SharedExecutors};
pub use node::catalog::Catalog;
pub use node::flags;
pub use node::{NodeSettings, SchedulerNode};
pub use run::aggregator::Aggregator;
pub use service::{RunHandle, TrainingService};
pub use session::{Rows, Session, SessionSettings, Training};
pub use shortcuts::{Found as FoundShortcuts, shortcuts_of_file};
pub use statements::{EvaluateOptions, Evaluation, check, evaluate, help};
