//! A training run that a statement or a program requests.

use std::sync::Arc;

use tusk_core::ids::ModelName;
use tusk_core::manifest::{Shortcut, strong_shortcuts};
use tusk_core::nuisances::Nuisances;
use tusk_core::options::{ModelSpec, OnShortcut};
use tusk_core::protocol::TrainingRequest;

use super::Session;
use super::source::Rows;
use crate::error::Result;
use crate::shortcuts::{find, nuisances};

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
        let (shortcuts, nuisances) = self.shortcuts(context).await?.unzip();
        Ok(TrainingRequest {
            name: self.name.clone(),
            train: self.train.training_plan(context, &spec).await?,
            spec,
            validate,
            train_name: self.train.name.clone(),
            or_replace: self.or_replace,
            resume: self.resume,
            shortcuts,
            nuisances: nuisances.map(Arc::new),
        })
    }

    /// Measures the shortcuts of the training rows, and returns the nuisances of validation rows. `None` if they are not to be
    /// measured, or cannot be: then training says what is wrong with the rows.
    async fn shortcuts(&self, context: &Session) -> Result<Option<(Vec<Shortcut>, Nuisances)>> {
        let wanted = self.spec.data.on_shortcut;
        if wanted == OnShortcut::Ignore {
            return Ok(None);
        }
        let found = match Box::pin(find(context, &self.train, &self.spec)).await {
            Ok(found) => found,
            Err(error) if wanted == OnShortcut::Fail => return Err(error),
            Err(error) => {
                tracing::warn!(model = %self.name, %error, "the shortcuts were not measured");
                return Ok(None);
            }
        };
        if wanted == OnShortcut::Fail
            && let Some(strong) = strong_shortcuts(&found.shortcuts)
        {
            let message = format!(
                "what has nothing to do with the subject of the images tells the classes of {} apart: {strong}. SHOW \
                 SHORTCUTS says what to do; on_shortcut = 'warn' trains in spite of it",
                self.train.name
            );
            return Err(tusk_core::Error::Data { message }.into());
        }
        let validation = match &self.validate {
            Some(rows) => self.nuisances(context, rows).await,
            None => found.validation,
        };
        Ok(Some((found.shortcuts, validation)))
    }

    /// Returns the nuisances of the rows of VALIDATE ON. There are none if they cannot be read: then training says why.
    async fn nuisances(&self, context: &Session, rows: &Rows) -> Nuisances {
        match Box::pin(nuisances(context, rows, &self.spec)).await {
            Ok(found) => found.of_run(0..found.contents.len()),
            Err(error) => {
                tracing::warn!(model = %self.name, %error, "the nuisances of the validation rows were not read");
                Nuisances::default()
            }
        }
    }
}
