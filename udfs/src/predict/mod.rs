//! SQL functions that use a model: `predict`, `predict_proba`, `calibrated_proba`, `explain`, `explain_map`,
//! `augment_image`.
//!
//! Each process passes its [`Predictor`] to the functions. A process without libtorch uses [`PlanOnly`] to plan queries
//! that executors run.

mod arguments;
mod augmented;
mod class;
mod explanation;
mod probability;

use std::sync::Arc;

use datafusion::arrow::array::Array;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{DocSection, ScalarUDF};
use tusk_core::engine::{Changes, Explanations, Predictions, Predictor};
use tusk_core::ids::ModelName;
use tusk_core::task_models::TaskModels;

pub use augmented::AugmentImage;
pub use class::Predict;
pub use explanation::{Explain, ExplainMap};
pub use probability::PredictProba;

/// The section of these functions in the manual.
const SECTION: DocSection = DocSection { include: true, label: "Model Functions", description: None };

/// The documentation of a model argument.
const MODEL_ARGUMENT: &str = "The name of a published model, a constant. SHOW MODELS lists them.";

/// All functions of this module, ready to be registered.
pub fn functions(predictor: &Arc<dyn Predictor>) -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(Predict::new(Arc::clone(predictor)))),
        Arc::new(ScalarUDF::from(PredictProba::new(Arc::clone(predictor)))),
        Arc::new(ScalarUDF::from(PredictProba::calibrated(Arc::clone(predictor)))),
        Arc::new(ScalarUDF::from(Explain::new(Arc::clone(predictor)))),
        Arc::new(ScalarUDF::from(ExplainMap::new(Arc::clone(predictor)))),
        Arc::new(ScalarUDF::from(AugmentImage::new(Arc::clone(predictor)))),
    ]
}

/// A predictor for processes that only plan queries.
#[derive(Debug, Default)]
pub struct PlanOnly;

impl Predictor for PlanOnly {
    fn predict(&self, model: &ModelName, _images: &dyn Array, _tasks: Option<&TaskModels>) -> Result<Predictions> {
        Err(not_here(model))
    }

    fn explain(&self, model: &ModelName, _images: &dyn Array, _tasks: Option<&TaskModels>) -> Result<Explanations> {
        Err(not_here(model))
    }

    fn augment(&self, _images: &dyn Array, _changes: &Changes) -> Result<Vec<Option<Vec<u8>>>> {
        let reason = "augmentation requires libtorch, which this process does not have; run it on an executor";
        Err(DataFusionError::Execution(reason.to_owned()))
    }
}

fn not_here(model: &ModelName) -> DataFusionError {
    let reason =
        format!("model '{model}' cannot predict in this process, which has no libtorch; run it on an executor");
    DataFusionError::Execution(reason)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{AsArray, BinaryArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::{SessionConfig, SessionContext};
    use tusk_core::metrics::Calibration;

    use super::*;

    /// Says PNEUMONIA with a probability of the first byte in percent, 254 being NaN; refuses images that start with
    /// 255.
    #[derive(Debug)]
    struct FirstByte;

    impl Predictor for FirstByte {
        fn predict(&self, model: &ModelName, images: &dyn Array, tasks: Option<&TaskModels>) -> Result<Predictions> {
            if model.as_str() != "m" {
                return Err(DataFusionError::Execution(format!("there is no model '{model}'")));
            }
            if let Some(tasks) = tasks {
                tasks.get_or_read::<u8, DataFusionError>(model, || Ok(Arc::new(1)))?;
            }
            let images: &BinaryArray = images.as_binary();
            let percent: Vec<u8> = images.iter().map(|image| image.map_or(255, |bytes| bytes[0])).collect();
            Ok(Predictions {
                classes: ["NORMAL".to_owned(), "PNEUMONIA".to_owned()].into(),
                decision: Some((1, 0.3)),
                calibration: Some(Calibration { temperature: 2.0, bias: vec![-0.5, 0.5] }),
                probabilities: percent
                    .iter()
                    .map(|p| if *p == 254 { f32::NAN } else { f32::from(*p) / 100.0 })
                    .flat_map(|p| [1.0 - p, p])
                    .collect(),
                valid: percent.iter().map(|p| *p != 255).collect(),
            })
        }

        /// A map of two by two pixels that is hot at the top left, over an image of the first byte.
        fn explain(&self, _model: &ModelName, images: &dyn Array, _tasks: Option<&TaskModels>) -> Result<Explanations> {
            let images: &BinaryArray = images.as_binary();
            let explained = images.iter().map(|image| Some((vec![1.0, 0.5, 0.0, 0.0], vec![image?[0]; 4])));
            Ok(Explanations { side: 2, channels: 1, images: explained.collect() })
        }

        /// Squares of the seed's grey.
        fn augment(&self, _images: &dyn Array, changes: &Changes) -> Result<Vec<Option<Vec<u8>>>> {
            let square = |seed: &Option<u64>| Some(vec![(*seed)? as u8; changes.side.pow(2) as usize]);
            Ok(changes.seeds.iter().map(square).collect())
        }
    }

    async fn run(sql: &str) -> Result<String> {
        let ctx = SessionContext::new();
        let predictor: Arc<dyn Predictor> = Arc::new(FirstByte);
        functions(&predictor).iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        let batches = ctx.sql(sql).await?.collect().await?;
        Ok(pretty_format_batches(&batches)?.to_string())
    }

    const IMAGES: &str = "(VALUES (1, X'14'), (2, X'1e'), (3, X'ff'), (4, NULL)) AS t(id, image)";

    #[tokio::test]
    async fn predict_uses_the_threshold_of_the_model_and_returns_null_for_unreadable_images() {
        let table = run(&format!("SELECT id, predict('m', image) AS class FROM {IMAGES} ORDER BY id")).await.unwrap();
        let expected = "\
+----+-----------+
| id | class     |
+----+-----------+
| 1  | NORMAL    |
| 2  | PNEUMONIA |
| 3  |           |
| 4  |           |
+----+-----------+";
        assert_eq!(table, expected);
    }

    #[tokio::test]
    async fn functions_hand_the_models_of_their_tasks_to_the_predictor() {
        let tasks = TaskModels::default();
        let config = SessionConfig::new().with_option_extension(tasks.clone());
        let ctx = SessionContext::new_with_config(config);
        let predictor: Arc<dyn Predictor> = Arc::new(FirstByte);
        functions(&predictor).iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        ctx.sql(&format!("SELECT predict('m', image) FROM {IMAGES}")).await.unwrap().collect().await.unwrap();
        let kept = tasks.get_or_read::<u8, &str>(&ModelName::new("m").unwrap(), || Err("nothing is kept"));
        assert_eq!(kept, Ok(Arc::new(1)));
    }

    #[tokio::test]
    async fn a_nan_probability_has_no_class() {
        let table =
            run("SELECT predict('m', X'fe') AS class, predict_proba('m', X'fe', 'PNEUMONIA') AS p").await.unwrap();
        assert_eq!(table.lines().nth(3).unwrap().replace(' ', ""), "||NaN|");
    }

    #[tokio::test]
    async fn predict_proba_returns_one_class_or_all_classes() {
        let sql = format!(
            "SELECT predict_proba('m', image, 'PNEUMONIA') AS p, predict_proba('m', image) AS all_of_them \
             FROM {IMAGES} ORDER BY id LIMIT 3"
        );
        let expected = "\
+-----+------------------------------+
| p   | all_of_them                  |
+-----+------------------------------+
| 0.2 | {NORMAL: 0.8, PNEUMONIA: 0.2} |
| 0.3 | {NORMAL: 0.7, PNEUMONIA: 0.3} |
|     |                              |
+-----+------------------------------+";
        let strip = |text: &str| text.replace([' ', '-'], "");
        assert_eq!(strip(&run(&sql).await.unwrap()), strip(expected));
    }

    #[tokio::test]
    async fn calibrated_proba_applies_the_calibration_of_the_model() {
        let sql = format!(
            "SELECT predict_proba('m', image, 'PNEUMONIA') AS p, calibrated_proba('m', image, 'PNEUMONIA') AS calibrated \
             FROM {IMAGES} ORDER BY id LIMIT 1"
        );
        // 0.2 against 0.8: at a temperature of 2 their square roots, 1 against 2, and then e against 2.
        let strip = |text: &str| text.replace([' ', '-'], "");
        assert!(strip(&run(&sql).await.unwrap()).contains("|0.2|0.57611"), "{}", run(&sql).await.unwrap());
    }

    #[tokio::test]
    async fn an_explanation_is_an_image_with_heat_or_the_heat_itself() {
        let sql =
            format!("SELECT explain_map('m', image) AS map, image_info(explain('m', image)) AS info FROM {IMAGES}");
        let ctx = SessionContext::new();
        let predictor: Arc<dyn Predictor> = Arc::new(FirstByte);
        functions(&predictor).iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        crate::image::functions().iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        let batches = ctx.sql(&format!("{sql} WHERE id IN (1, 4) ORDER BY id")).await.unwrap().collect().await.unwrap();
        let table = pretty_format_batches(&batches).unwrap().to_string();
        assert!(table.contains("{shape: [1, 2, 2], data: [1.0, 0.5, 0.0, 0.0]}"), "{table}");
        assert!(table.contains("width: 2") && table.contains("format: png"), "{table}");
        // The row without an image.
        assert_eq!(table.lines().filter(|line| line.replace(' ', "") == "|||").count(), 1, "{table}");
    }

    #[tokio::test]
    async fn an_augmented_image_is_a_square_for_every_seed() {
        let ctx = SessionContext::new();
        let predictor: Arc<dyn Predictor> = Arc::new(FirstByte);
        functions(&predictor).iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        crate::image::functions().iter().for_each(|f| ctx.register_udf(f.as_ref().clone()));
        let sql = "SELECT seed, image_info(augment_image(X'14', 'rotate, noise', seed, 16)) AS small, \
                   image_info(augment_image(X'14', 'xray', seed)) AS usual \
                   FROM (VALUES (7), (NULL)) AS t(seed) ORDER BY seed";
        let batches = ctx.sql(sql).await.unwrap().collect().await.unwrap();
        let table = pretty_format_batches(&batches).unwrap().to_string();
        assert!(table.contains("width: 16, height: 16") && table.contains("width: 224, height: 224"), "{table}");
        assert_eq!(table.lines().filter(|line| line.replace(' ', "") == "||||").count(), 1, "{table}");
    }

    #[tokio::test]
    async fn the_error_for_a_wrong_argument_says_what_is_accepted() {
        for (sql, message) in [
            ("SELECT predict('m')", "predict(model, image) takes 2 arguments, not 1"),
            ("SELECT predict(1, X'00')", "predict(model, image): model must be a name in quotes, got Int64"),
            ("SELECT predict('m', 3)", "predict(model, image): image must be bytes or an image struct, got Int64"),
            (
                "SELECT predict_proba('m', X'00', 'COVID')",
                "model 'm' has no class 'COVID'; its classes are NORMAL, PNEUMONIA",
            ),
            ("SELECT predict('no such', X'00')", "'no such' is not a valid model name"),
            ("SELECT augment_image(X'00', 'xray')", "takes 3 or 4 arguments, not 2"),
            (
                "SELECT augment_image(X'00', 'turn', 1)",
                "invalid augment 'turn': expected 'xray', 'none', or a list of rotate",
            ),
        ] {
            let error = run(sql).await.unwrap_err().to_string();
            assert!(error.contains(message), "{sql}: {error}");
        }
    }
}
