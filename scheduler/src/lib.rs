//! The control plane: training runs, the aggregator, and the scheduler they live in. No libtorch here.
//!
//! [`TrainingService`] owns the runs of a process. A run (`run`) submits one job for its profile and two per epoch
//! (`job`), folds the workers' answers ([`Aggregator`]), asks its state machine what comes next (`run::progress`), and
//! publishes the model.

mod aggregator;
mod embedded;
mod error;
mod job;
mod run;
mod service;

pub use aggregator::Aggregator;
pub use embedded::{EmbeddedScheduler, SchedulerSettings};
pub use error::{Error, Result};
pub use run::TrainingRequest;
pub use service::{ActiveRuns, RunHandle, ServiceSettings, TrainingService};
