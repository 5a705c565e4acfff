//! What the processes of Tusk say to each other beside plans, over Arrow Flight: the names of tickets, actions and
//! headers, and a file per message.
//!
//! * [`TrainingRequest`]: a run that is asked for; [`Follow`]: a run that is watched; [`RunStarted`]: the run that a statement
//!   has begun
//! * [`epoch_schema`]: the columns of the rows of all three
//! * [`ClusterStatus`], [`RunSummary`]: what a cluster is doing
//! * [`ExecutorReport`]: what an executor tells the scheduler about itself
//! * [`parameters`]: what workers and the parameter server say to each other

mod epochs;
mod follow;
pub mod parameters;
mod report;
mod request;
mod started;
mod status;

pub use epochs::epoch_schema;
pub use follow::Follow;
pub use report::{DeviceReport, DeviceWork, ExecutorReport, ExecutorTotals, SHARDS_MAX};
pub use request::TrainingRequest;
pub use started::RunStarted;
pub use status::{ClusterStatus, RunSummary};

/// The version of the messages between Tusk's processes. Raised when a reader of the old form would misread the new
/// one; a process of another version is refused.
pub const WIRE_VERSION: u32 = 4;

/// The ticket that starts a run: its value is a [`TrainingRequest`] as bytes, its rows are the epochs.
pub const TRAIN_TICKET: &str = "type.googleapis.com/tusk.Train";

/// The ticket that follows a run: its value is a [`Follow`] as JSON, its rows are the epochs.
pub const FOLLOW_TICKET: &str = "type.googleapis.com/tusk.Follow";

/// The action that carries an [`ExecutorReport`] as JSON.
pub const REPORT_ACTION: &str = "tusk.report";

/// The action that gives the manifest of a model, whose name is its body, as JSON.
pub const MANIFEST_ACTION: &str = "tusk.manifest";

/// The action that gives a [`ClusterStatus`] as JSON.
pub const STATUS_ACTION: &str = "tusk.status";

/// The request header by which a client asks for events between the rows. They come as messages without data, whose
/// metadata is a [`crate::event::RunEvent`] in JSON; other clients never see one.
pub const EVENTS_HEADER: &str = "tusk-events";

/// How the rows of a run end when the scheduler does: `Unavailable`, with these words. Who wants to see more of the run
/// looks for the scheduler again.
pub const ENDING: &str = "the scheduler is shutting down; the run continues when it restarts";
