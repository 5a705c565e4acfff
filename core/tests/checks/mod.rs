//! Checks that must hold for any bytes, used by the fuzz targets and by the test of the stored corpus.

use std::sync::{Arc, LazyLock};

use datafusion::execution::TaskContext;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use tusk_core::codec::{TuskLogicalCodec, TuskPhysicalCodec, decode_plan};
use tusk_core::ids::WorkerId;
use tusk_core::job::{
    ExchangeReport, FitWeightsReport, ProfileReport, RowHashes, Scores, TrainReport, TrainTask, ValidateReport,
};
use tusk_core::manifest::{Manifest, RunRecord};
use tusk_core::physical::{Answer, REPORT, answer_rows, answer_schema, tensor_header};
use tusk_core::protocol::ExecutorReport;
use tusk_core::sql::{ModelStatement, Source, Statement, parse};
use tusk_core::state::{ModelState, checksum};

/// Decodes bytes as a plan, an operator, a table, a file of weights and a record. None may panic.
pub(crate) fn codec(bytes: &[u8]) {
    static CONTEXT: LazyLock<Arc<TaskContext>> = LazyLock::new(|| SessionContext::new().task_ctx());
    let (physical, logical) = (TuskPhysicalCodec::default(), TuskLogicalCodec::default());
    drop(decode_plan(bytes, &CONTEXT, &physical));
    drop(physical.try_decode(bytes, &[], &CONTEXT, &DefaultPhysicalProtoConverter {}));
    drop(logical.try_decode(bytes, &[], &CONTEXT));
    drop(logical.try_decode_table_provider(bytes, &"t".into(), answer_schema(), &CONTEXT));
    drop(logical.try_decode_file_format(bytes, &CONTEXT));
    drop(ModelState::from_safetensors("w", bytes, &checksum(bytes)));
    drop(serde_json::from_slice::<TrainTask>(bytes).map(|task| task.definition.check()));
    drop(serde_json::from_slice::<Manifest>(bytes).map(|manifest| manifest.check()));
    drop(serde_json::from_slice::<RunRecord>(bytes).map(|record| record.check()));
    drop(serde_json::from_slice::<ExecutorReport>(bytes));
}

/// Parses a text. A parsed statement must be printed as SQL that parses to an equal tree.
pub(crate) fn sql(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(statements) = parse(text) else { return };
    for statement in statements {
        match statement {
            Statement::DataFusion(statement) => drop(statement.to_string()),
            Statement::Model(statement) => {
                let printed = statement.to_string();
                if !sources(&statement).iter().all(|source| prints_back(source)) {
                    continue;
                }
                let again = parse(&printed);
                let is_same = matches!(again.as_deref(), Ok([Statement::Model(again)]) if *again == statement);
                assert!(is_same, "{text:?} printed as {printed:?}, which is {again:?}");
            }
        }
    }
}

fn sources(statement: &ModelStatement) -> Vec<&Source> {
    match statement {
        ModelStatement::Create { create, .. } => create.train_on.iter().chain(&create.validate_on).collect(),
        ModelStatement::Evaluate(evaluate) => vec![&evaluate.on],
        _ => Vec::new(),
    }
}

/// Whether sqlparser can read what it prints: not every query of every dialect.
fn prints_back(source: &Source) -> bool {
    let dialect = GenericDialect {};
    let parser =
        |text: &str| Parser::new(&dialect).with_recursion_limit(50).try_with_sql(text).map(Some).unwrap_or(None);
    match source {
        Source::Table(name) => {
            let again: Option<ObjectName> =
                parser(&name.to_string()).and_then(|mut parser| parser.parse_object_name(false).ok());
            again.as_ref() == Some(name)
        }
        Source::Query(query) => {
            let again: Option<Box<Query>> = parser(&query.to_string()).and_then(|mut parser| parser.parse_query().ok());
            again.as_ref() == Some(query)
        }
    }
}

/// Decodes bytes as a row of a task output.
pub(crate) fn answer(bytes: &[u8]) {
    for name in [REPORT, "fc.weight", "contents", "truth", "probabilities", "groups"] {
        for batch in answer_rows(WorkerId(0), name, bytes) {
            for row in Answer::rows(&batch.unwrap()).unwrap() {
                drop(row.report::<ProfileReport>());
                drop(row.report::<FitWeightsReport>());
                drop(row.report::<TrainReport>());
                drop(row.report::<ExchangeReport>());
                drop(row.report::<ValidateReport>());
                drop(RowHashes::default().fold(&row, usize::MAX));
                drop(Scores::default().fold(&row));
            }
        }
    }
    if let Ok((shape, values)) = tensor_header(bytes) {
        assert!(8 + shape.len() * 8 + values.len() == bytes.len());
    }
}
