//! The messages between the processes of Tusk, over Arrow Flight. Plans are in [`crate::codec`].
//!
//! * [`TrainingRequest`]: a request to start a run; [`Follow`]: a request to follow a run; [`RunStarted`]: the run that
//!   a statement has started
//! * [`epoch_schema`]: the columns of their result rows
//! * [`ClusterStatus`], [`RunSummary`]: the state of a cluster
//! * [`ExecutorReport`]: the state of an executor
//! * [`parameters`]: the messages between workers and the parameter server

mod epochs;
mod follow;
pub mod parameters;
mod report;
mod request;
mod started;
mod statements;
mod status;

pub use epochs::epoch_schema;
pub use follow::Follow;
pub use report::{DeviceReport, DeviceWork, ExecutorReport, ExecutorTotals, SHARDS_MAX};
pub use request::TrainingRequest;
pub use started::RunStarted;
pub use statements::StatementHelp;
pub use status::{ClusterStatus, RunSummary};

/// The version of the messages between processes. It is raised when an older process would misread a message. Processes
/// of another version are refused.
pub const WIRE_VERSION: u32 = 6;

/// The ticket that starts a run: its value is a [`TrainingRequest`] as bytes, its rows are the epochs.
pub const TRAIN_TICKET: &str = "type.googleapis.com/tusk.Train";

/// The ticket that follows a run: its value is a [`Follow`] as JSON, its rows are the epochs.
pub const FOLLOW_TICKET: &str = "type.googleapis.com/tusk.Follow";

/// The action that carries an [`ExecutorReport`] as JSON.
pub const REPORT_ACTION: &str = "tusk.report";

/// The action that returns the manifest of a model as JSON. Its body is the name of the model.
pub const MANIFEST_ACTION: &str = "tusk.manifest";

/// The action that returns a [`ClusterStatus`] as JSON.
pub const STATUS_ACTION: &str = "tusk.status";

/// The action that parses a statement, whose text is its body, without running it.
pub const CHECK_ACTION: &str = "tusk.check";

/// The action that gives the statements about models, a list of [`StatementHelp`], as JSON.
pub const STATEMENTS_ACTION: &str = "tusk.statements";

/// The request header by which a client asks for events between the rows. They come as messages without data, whose
/// metadata is a [`crate::event::RunEvent`] in JSON; other clients do not receive them.
pub const EVENTS_HEADER: &str = "tusk-events";

/// The message of the `Unavailable` error that ends the rows of a run when the scheduler shuts down. Clients reconnect
/// to see more rows.
pub const ENDING: &str = "the scheduler is shutting down; the run continues when it restarts";
