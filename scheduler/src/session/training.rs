//! A training run that a statement or a program asks for.

use tusk_core::ids::ModelName;
use tusk_core::options::ModelSpec;
use tusk_core::protocol::TrainingRequest;

use super::Session;
use super::source::Rows;
use crate::error::Result;

/// A training that is about to start.
#[derive(Debug)]
pub struct Training {
    /// The model.
    pub name: ModelName,
    /// What it is to be.
    pub spec: ModelSpec,
    /// The rows to learn from.
    pub train: Rows,
    /// The rows to validate on, if they are not a share of the training rows.
    pub validate: Option<Rows>,
    /// Whether a model of this name may be replaced.
    pub or_replace: bool,
    /// Whether to go on from the last checkpoint.
    pub resume: bool,
}

impl Training {
    /// The request for the training service.
    ///
    /// # Errors
    /// When the name is that of a child run, a column is missing, or the rows cannot be planned.
    pub async fn request(&self, context: &Session) -> Result<TrainingRequest> {
        self.name.refuse_child()?;
        let mut spec = self.spec.clone();
        let validate = match &self.validate {
            Some(rows) => {
                // These take the place of a share of the training rows, as in Keras.
                spec.split.validation_fraction = 0.0;
                Some(rows.training_plan(context, &spec).await?)
            }
            None => None,
        };
        Ok(TrainingRequest {
            name: self.name.clone(),
            train: self.train.training_plan(context, &spec).await?,
            spec,
            validate,
            train_name: self.train.name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
        })
    }
}
