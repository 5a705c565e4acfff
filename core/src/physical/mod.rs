//! The physical operators of training jobs and UNION ALL, and task outputs.

mod answer;
mod train_exec;
mod union_exec;

pub use answer::{
    Answer, MESSAGE_BYTES_MAX, REPORT, answer_rows, answer_schema, report_rows, tensor_header, tensor_rows,
};
pub use train_exec::TrainExec;
pub use union_exec::TaskUnionExec;
