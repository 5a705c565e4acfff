//! Checks that must hold for any bytes, used by the fuzz targets and by the test of the stored corpus.

use std::sync::{Arc, LazyLock};

use datafusion::execution::TaskContext;
use datafusion::prelude::SessionContext;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use tusk_core::codec::{TuskLogicalCodec, TuskPhysicalCodec, decode_plan};
use tusk_core::ids::WorkerId;
use tusk_core::job::{
    AdaptReport, ExchangeReport, FitWeightsReport, ProfileReport, RowHashes, Scores, Statistics, TrainReport,
    TrainTask, ValidateReport,
};
use tusk_core::manifest::{Manifest, RunRecord};
use tusk_core::physical::{REPORT, TaskOutput, output_rows, output_schema, tensor_header};
use tusk_core::protocol::ExecutorReport;
use tusk_core::state::{ModelState, checksum};

/// Decodes bytes as a plan, an operator, a table, a file of weights and a record. None may panic.
pub(crate) fn codec(bytes: &[u8]) {
    static CONTEXT: LazyLock<Arc<TaskContext>> = LazyLock::new(|| SessionContext::new().task_ctx());
    let (physical, logical) = (TuskPhysicalCodec::default(), TuskLogicalCodec::default());
    drop(decode_plan(bytes, &CONTEXT, &physical));
    drop(physical.try_decode(bytes, &[], &CONTEXT, &DefaultPhysicalProtoConverter {}));
    drop(logical.try_decode(bytes, &[], &CONTEXT));
    drop(logical.try_decode_table_provider(bytes, &"t".into(), output_schema(), &CONTEXT));
    drop(logical.try_decode_file_format(bytes, &CONTEXT));
    drop(ModelState::from_safetensors("w", bytes, &checksum(bytes)));
    drop(serde_json::from_slice::<TrainTask>(bytes).map(|task| task.definition.check()));
    drop(serde_json::from_slice::<Manifest>(bytes).map(|manifest| manifest.check()));
    drop(serde_json::from_slice::<RunRecord>(bytes).map(|record| record.check()));
    drop(serde_json::from_slice::<ExecutorReport>(bytes));
}

/// Decodes bytes as a row of a task output.
pub(crate) fn task_output(bytes: &[u8]) {
    for name in [REPORT, "fc.weight", "contents", "truth", "probabilities", "groups"] {
        for batch in output_rows(WorkerId(0), name, bytes) {
            for row in TaskOutput::rows(&batch.unwrap()).unwrap() {
                drop(row.report::<ProfileReport>());
                drop(row.report::<FitWeightsReport>());
                drop(row.report::<TrainReport>());
                drop(row.report::<ExchangeReport>());
                drop(row.report::<ValidateReport>());
                drop(row.report::<AdaptReport>());
                drop(RowHashes::default().fold(&row, usize::MAX));
                drop(Scores::default().fold(&row));
                drop(Statistics::default().fold(&row));
            }
        }
    }
    if let Ok((shape, values)) = tensor_header(bytes) {
        assert!(8 + shape.len() * 8 + values.len() == bytes.len());
    }
}
