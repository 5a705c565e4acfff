//! A training run that a statement or a program requests.

use tusk_core::ids::ModelName;
use tusk_core::options::ModelSpec;
use tusk_core::protocol::TrainingRequest;

use super::Session;
use super::source::Rows;
use crate::error::Result;

/// A training run that is not started yet.
#[derive(Debug)]
pub struct Training {
    /// The model.
    pub name: ModelName,
    /// The options of the model.
    pub spec: ModelSpec,
    /// The training rows.
    pub train: Rows,
    /// The validation rows. If `None`, they are a fraction of the training rows.
    pub validate: Option<Rows>,
    /// Whether the run may replace a model of this name.
    pub or_replace: bool,
    /// Whether the run resumes from the last checkpoint.
    pub resume: bool,
}

impl Training {
    /// Returns the request for the training service.
    ///
    /// # Errors
    /// Returns an error if the name is that of a child run, a column does not exist, or the rows cannot be planned.
    pub async fn request(&self, context: &Session) -> Result<TrainingRequest> {
        self.name.refuse_child()?;
        let mut spec = self.spec.clone();
        let validate = match &self.validate {
            Some(rows) => {
                // They replace the fraction of the training rows, as in Keras.
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
