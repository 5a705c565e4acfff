//! The operator of training jobs, its task, and the rows it answers with; and that of UNION ALL.

mod answer;
mod task;
mod train_exec;
mod union_exec;

pub use answer::{Answer, MESSAGE_BYTES_MAX, REPORT, answer_rows, answer_schema, tensor_header, tensor_rows};
pub use task::{Part, Phase, PhaseReport, Rows, TrainTask, UnreadableImage, shard_key};
pub use train_exec::TrainExec;
pub use union_exec::TaskUnionExec;
