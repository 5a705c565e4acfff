//! The physical operators of training jobs, UNION ALL and queries that can be cancelled, and task outputs.

mod task_output;
mod train_exec;
mod union_exec;
mod yield_exec;

pub use task_output::{
    MESSAGE_BYTES_MAX, REPORT, TaskOutput, output_rows, output_schema, report_rows, tensor_header, tensor_rows,
};
pub use train_exec::TrainExec;
pub use union_exec::TaskUnionExec;
pub use yield_exec::{YieldExec, yielding};
