//! The operator of training jobs and the rows it answers with; and that of UNION ALL.

mod task_output;
mod train_exec;
mod union_exec;

pub use task_output::{
    MESSAGE_BYTES_MAX, REPORT, TaskOutput, output_rows, output_schema, report_rows, tensor_header, tensor_rows,
};
pub use train_exec::TrainExec;
pub use union_exec::TaskUnionExec;
