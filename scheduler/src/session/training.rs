//! A training run that a statement or a program requests.

use tusk_core::ids::ModelName;
use tusk_core::manifest::{Shortcut, strong_shortcuts};
use tusk_core::options::{ModelSpec, OnShortcut};
use tusk_core::protocol::TrainingRequest;

use super::Session;
use super::source::Rows;
use crate::error::Result;
use crate::shortcuts::find;

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
        let shortcuts = self.shortcuts(context).await?;
        Ok(TrainingRequest {
            name: self.name.clone(),
            train: self.train.training_plan(context, &spec).await?,
            spec,
            validate,
            train_name: self.train.name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
            shortcuts,
        })
    }

    /// Measures the shortcuts of the training rows. `None` if they are not to be measured, or cannot be: then training says
    /// what is wrong with the rows.
    async fn shortcuts(&self, context: &Session) -> Result<Option<Vec<Shortcut>>> {
        let wanted = self.spec.data.on_shortcut;
        if wanted == OnShortcut::Ignore {
            return Ok(None);
        }
        let shortcuts = match find(context, &self.train, &self.spec).await {
            Ok(found) => found.shortcuts,
            Err(error) if wanted == OnShortcut::Fail => return Err(error),
            Err(error) => {
                tracing::warn!(model = %self.name, %error, "the shortcuts were not measured");
                return Ok(None);
            }
        };
        match strong_shortcuts(&shortcuts) {
            Some(strong) if wanted == OnShortcut::Fail => {
                let message = format!(
                    "what has nothing to do with the subject of the images tells the classes of {} apart: {strong}. SHOW \
                     SHORTCUTS says what to do; on_shortcut = 'warn' trains in spite of it",
                    self.train.name
                );
                Err(tusk_core::Error::Data { message }.into())
            }
            _ => Ok(Some(shortcuts)),
        }
    }
}
