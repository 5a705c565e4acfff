//! Training from Rust, with an API like that of Spark ML: an estimator is fitted to a DataFrame and returns a model,
//! which transforms DataFrames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, ScalarUDF, lit};
use tusk_core::ids::ModelName;
use tusk_core::manifest::{EpochReport, Manifest};
use tusk_core::options::{Architecture, OptionValue, parse as parse_options};
use tusk_scheduler::{EvaluateOptions, Evaluation, Rows, Training, evaluate};
use tusk_udfs::predict::{Predict, PredictProba};

use crate::context::TuskContext;
use crate::error::Result;

/// The number of the next model that has no name.
static UNNAMED: AtomicU64 = AtomicU64::new(1);

/// An untrained image classifier. Its options are those of CREATE MODEL; [`Self::fit`] checks them.
#[derive(Clone, Debug)]
pub struct ImageClassifier {
    architecture: Architecture,
    name: Option<String>,
    options: Vec<(String, OptionValue)>,
}

impl ImageClassifier {
    /// A small residual net for grey images of 128 pixels.
    #[must_use]
    pub fn cnn() -> Self {
        Self::new(Architecture::CNN)
    }

    /// ResNet-18.
    #[must_use]
    pub fn resnet18() -> Self {
        Self::new(Architecture::RESNET18)
    }

    /// ResNet-50.
    #[must_use]
    pub fn resnet50() -> Self {
        Self::new(Architecture::RESNET50)
    }

    /// VGG-16.
    #[must_use]
    pub fn vgg16() -> Self {
        Self::new(Architecture::VGG16)
    }

    /// A classifier with any architecture.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture, name: None, options: Vec::new() }
    }

    /// The name of the published model. An existing model of that name is replaced. The default names are `fit-1`,
    /// `fit-2` and so on.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Sets any option of CREATE MODEL.
    #[must_use]
    pub fn option(mut self, key: &str, value: impl Into<OptionValue>) -> Self {
        self.options.retain(|(earlier, _)| earlier != key);
        self.options.push((key.to_owned(), value.into()));
        self
    }

    /// The column of the images.
    #[must_use]
    pub fn image(self, column: &str) -> Self {
        self.option("image", column)
    }

    /// The column of the classes.
    #[must_use]
    pub fn label(self, column: &str) -> Self {
        self.option("label", column)
    }

    /// The column of the groups. Rows of one group stay on one side of a split.
    #[must_use]
    pub fn group(self, column: &str) -> Self {
        self.option("group", column)
    }

    /// The number of epochs.
    #[must_use]
    pub fn epochs(self, epochs: u32) -> Self {
        self.option("epochs", u64::from(epochs))
    }

    /// The seed of all random numbers.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.option("seed", seed)
    }

    /// Trains on the rows of a DataFrame and publishes the model.
    ///
    /// # Errors
    /// When an option is wrong, the rows cannot be used for training, or training fails.
    pub async fn fit(&self, context: &TuskContext, frame: &DataFrame) -> Result<Model> {
        let unnamed = || format!("fit-{}", UNNAMED.fetch_add(1, Ordering::Relaxed));
        let (spec, resume) = parse_options(self.architecture, &self.options)?;
        let train = Rows { plan: frame.logical_plan().clone(), name: "the DataFrame".to_owned() };
        let name = ModelName::new(self.name.clone().unwrap_or_else(unnamed))?;
        let training = Training { name, spec, train, validate: None, or_replace: true, resume };
        context.train(&training).await?.collect().await?;
        let manifest = context.manifest(&training.name).await?;
        Ok(Model { context: context.clone(), manifest })
    }
}

/// A published model.
#[derive(Clone, Debug)]
pub struct Model {
    context: TuskContext,
    manifest: Manifest,
}

impl Model {
    /// Loads the model of this name from the context's store.
    ///
    /// # Errors
    /// When there is no model of this name.
    pub async fn load(context: &TuskContext, name: &str) -> Result<Self> {
        let manifest = context.manifest(&ModelName::new(name)?).await?;
        Ok(Self { context: context.clone(), manifest })
    }

    /// The manifest of the model.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The reports of its training epochs.
    #[must_use]
    pub fn history(&self) -> &[EpochReport] {
        &self.manifest.epochs
    }

    /// Adds the columns `prediction` (the class) and `probability` (a map from class to probability).
    ///
    /// # Errors
    /// When the frame has no column of images.
    pub fn transform(&self, frame: DataFrame) -> Result<DataFrame> {
        let rows = Rows { plan: frame.logical_plan().clone(), name: "the DataFrame".to_owned() };
        let image = rows.image(&self.manifest.definition.spec)?;
        let name = lit(self.manifest.name.as_str());
        let call = |function: ScalarUDF| -> Expr { function.call(vec![name.clone(), image.clone()]) };
        let predictor = self.context.planner().predictor();
        let frame = frame
            .with_column("prediction", call(ScalarUDF::from(Predict::new(Arc::clone(predictor)))))?
            .with_column("probability", call(ScalarUDF::from(PredictProba::new(Arc::clone(predictor)))))?;
        Ok(frame)
    }

    /// Computes the model's metrics on the rows of a DataFrame.
    ///
    /// # Errors
    /// When the frame lacks a column or has a class that the model does not have.
    pub async fn evaluate(&self, frame: &DataFrame) -> Result<Evaluation> {
        let rows = Rows { plan: frame.logical_plan().clone(), name: "the DataFrame".to_owned() };
        Ok(evaluate(self.context.planner(), &self.manifest, &rows, &EvaluateOptions::default()).await?)
    }
}
