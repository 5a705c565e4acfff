//! The operator of training jobs, its task, and the rows it answers with.

mod answer;
mod task;
mod train_exec;

pub use answer::{Answer, MESSAGE_BYTES_MAX, REPORT, answer_rows, answer_schema, tensor_header, tensor_rows};
pub use task::{Part, Phase, PhaseReport, Rows, TrainTask, UnreadableImage, shard_key};
pub use train_exec::TrainExec;
