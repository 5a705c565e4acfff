//! The physical operators of training jobs and UNION ALL, and task outputs.

mod task_output;
mod train_exec;
mod union_exec;

pub use task_output::{
    MESSAGE_BYTES_MAX, REPORT, TaskOutput, output_rows, output_schema, report_rows, tensor_header, tensor_rows,
};
pub use train_exec::TrainExec;
pub use union_exec::TaskUnionExec;
