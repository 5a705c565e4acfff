//! The control plane: training runs, the aggregator, and the scheduler they live in. No libtorch here.
//!
//! A [`SchedulerNode`] is Ballista's scheduler with everything of ours on the same port: Flight SQL (`flight`) for
//! sessions ([`Session`]) and the statements about models (`statements`), behind one door (`gate`, `auth`), placement of tasks (`placement`), and the
//! [`TrainingService`], which owns the runs. A run (`run`) submits one job for its profile, then jobs that train an epoch and one that validates it (`job`),
//! folds the workers' answers ([`Aggregator`]), asks its state machine what comes next (`run::progress`), and publishes
//! the model. Workers that do not wait for each other exchange weights by the parameter service (`parameters`).

mod active;
mod aggregator;
mod auth;
mod catalog;
mod error;
mod executors;
pub mod flags;
mod flight;
mod gate;
mod job;
mod metrics;
mod node;
mod opaque;
mod parameters;
mod placement;
mod planner;
mod run;
mod service;
mod session;
mod statements;
mod study;
mod watch;

pub use aggregator::Aggregator;
pub use catalog::Catalog;
pub use error::{Error, Result, Results};
pub use executors::{Executors, SharedExecutors};
pub use node::{NodeSettings, SchedulerNode};
pub use service::{RunHandle, TrainingService};
pub use session::{Rows, Session, SessionSettings, Training};
pub use statements::{EvaluateOptions, Evaluation, check, evaluate, help};
