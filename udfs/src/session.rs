//! The session of every process: its functions, tables and codecs.

use std::sync::Arc;

use ballista_core::extension::{
    SessionConfigExt, ballista_aggregate_functions, ballista_scalar_functions, ballista_window_functions,
};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use prost::Message;
use tusk_core::codec::{Extension, TuskLogicalCodec, TuskPhysicalCodec};
use tusk_core::engine::Predictor;
use tusk_core::error::Error;

use crate::images_table::{ImagesTable, ImagesTableFactory, ReadImagesExec};

/// The file type of `CREATE EXTERNAL TABLE ... STORED AS IMAGES`.
pub const IMAGES_FILE_TYPE: &str = "IMAGES";

/// Rows per batch. With the default of 8192, a batch of X-rays would have about a gigabyte.
pub const BATCH_ROWS: usize = 512;

/// The scalar functions of Tusk.
pub fn scalar_functions(predictor: &Arc<dyn Predictor>) -> Vec<Arc<ScalarUDF>> {
    crate::image::functions().into_iter().chain(crate::predict::functions(predictor)).collect()
}

/// The aggregate functions of Tusk.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    crate::metrics::functions()
}

/// The codec of logical plans.
pub fn logical_codec() -> Arc<TuskLogicalCodec> {
    Arc::new(TuskLogicalCodec::new(vec![Arc::new(ImagesExtension)]))
}

/// The codec of physical plans.
pub fn physical_codec() -> Arc<TuskPhysicalCodec> {
    Arc::new(TuskPhysicalCodec::new(vec![Arc::new(ImagesExtension)]))
}

/// The default session configuration: that of Ballista, with the codecs of Tusk and smaller batches.
pub fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_information_schema(true)
        .with_batch_size(BATCH_ROWS)
        .with_ballista_logical_extension_codec(logical_codec())
        .with_ballista_physical_extension_codec(physical_codec())
}

/// A session with the functions and tables of DataFusion, Ballista and Tusk.
pub fn session_builder(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
    predictor: &Arc<dyn Predictor>,
) -> SessionStateBuilder {
    let scalar = ballista_scalar_functions().into_iter().chain(scalar_functions(predictor)).collect();
    let aggregate = ballista_aggregate_functions().into_iter().chain(aggregate_functions()).collect();
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_scalar_functions(scalar)
        .with_aggregate_functions(aggregate)
        .with_window_functions(ballista_window_functions())
        .with_table_factory(IMAGES_FILE_TYPE.to_owned(), Arc::new(ImagesTableFactory))
}

/// The codec of tables over folders of images.
#[derive(Debug)]
struct ImagesExtension;

#[derive(Clone, PartialEq, Message)]
struct ReadImagesMessage {
    #[prost(string, tag = "1")]
    url: String,
    #[prost(message, optional, tag = "2")]
    projection: Option<ProjectionMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ProjectionMessage {
    #[prost(uint64, repeated, tag = "1")]
    columns: Vec<u64>,
}

impl Extension for ImagesExtension {
    fn name(&self) -> &'static str {
        "images"
    }

    fn encode_operator(&self, node: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
        let Some(node) = node.downcast_ref::<ReadImagesExec>() else { return Ok(None) };
        let columns = |projection: &[usize]| projection.iter().map(|column| *column as u64).collect();
        let projection = node.projection().map(|projection| ProjectionMessage { columns: columns(projection) });
        Ok(Some(ReadImagesMessage { url: node.url().to_owned(), projection }.encode_to_vec()))
    }

    fn decode_operator(&self, body: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
        let wire = |reason: String| Error::Wire { what: "folder of images", reason };
        let message = ReadImagesMessage::decode(body).map_err(|e| wire(e.to_string()))?;
        let [input] = inputs else { return Err(wire(format!("it has {} inputs", inputs.len())).into()) };
        let column = |column: &u64| usize::try_from(*column).map_err(|e| wire(e.to_string()));
        let projection = message.projection.map(|p| p.columns.iter().map(column).collect()).transpose()?;
        Ok(Arc::new(ReadImagesExec::try_new(message.url, projection, Arc::clone(input))?))
    }

    fn encode_table(&self, table: &Arc<dyn TableProvider>) -> Result<Option<Vec<u8>>> {
        Ok(table.downcast_ref::<ImagesTable>().map(|table| table.location().as_bytes().to_vec()))
    }

    fn decode_table(&self, body: &[u8]) -> Result<Arc<dyn TableProvider>> {
        let wire = |e: std::str::Utf8Error| Error::Wire { what: "folder of images", reason: e.to_string() };
        Ok(Arc::new(ImagesTable::try_new(std::str::from_utf8(body).map_err(wire)?)?))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::predict::PlanOnly;

    #[test]
    fn every_function_resolves_and_the_built_in_ones_survive() {
        let predictor: Arc<dyn Predictor> = Arc::new(PlanOnly);
        let state = session_builder(session_config(), Arc::default(), &predictor).build();
        for name in ["predict", "predict_proba", "image_info", "decode_image", "abs", "array_length", "sha256"] {
            assert!(state.scalar_functions().contains_key(name), "{name}");
        }
        for name in ["roc_auc", "accuracy", "precision", "recall", "f1", "confusion_matrix", "sum", "avg"] {
            assert!(state.aggregate_functions().contains_key(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_folder_of_images_survives_both_codecs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.jpeg"), b"no image").unwrap();
        let predictor: Arc<dyn Predictor> = Arc::new(PlanOnly);
        let ctx = SessionContext::new_with_state(session_builder(session_config(), Arc::default(), &predictor).build());
        let table: Arc<dyn TableProvider> = Arc::new(ImagesTable::try_new(folder.path().to_str().unwrap()).unwrap());
        let extension = ImagesExtension;
        let body = extension.encode_table(&table).unwrap().unwrap();
        let decoded = extension.decode_table(&body).unwrap();
        assert_eq!(decoded.downcast_ref::<ImagesTable>().unwrap().location(), {
            table.downcast_ref::<ImagesTable>().unwrap().location()
        });

        ctx.register_table("t", table).unwrap();
        let plan = ctx.sql("SELECT label, path FROM t").await.unwrap().create_physical_plan().await.unwrap();
        let codec = physical_codec();
        let bytes = tusk_core::codec::encode_plan(Arc::clone(&plan), codec.as_ref()).unwrap();
        let again = tusk_core::codec::decode_plan(&bytes, &ctx.task_ctx(), codec.as_ref()).unwrap();
        let text = |plan: &Arc<dyn ExecutionPlan>| {
            datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string()
        };
        assert_eq!(text(&plan), text(&again));
    }
}
