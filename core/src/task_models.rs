//! The models that the tasks of one launch predict with: read once, and the same for all their batches.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::DataFusionError;

use crate::ids::ModelName;

/// Models kept for a launch. A query that names more reads the others for every batch, rather than fill the memory.
const MODELS_MAX: usize = 8;

type Kept = Arc<dyn Any + Send + Sync>;

/// The models of the tasks that an executor was given at once: tasks of one stage of one query.
///
/// An executor makes one for every launch, in the session of its tasks, and functions find it in the options that they
/// are called with. A function knows neither its query nor its task: without this it could not tell a batch of the same
/// query from one of the next, which must see a model that was replaced. Copies share what they keep.
#[derive(Clone, Debug, Default)]
pub struct TaskModels(Arc<Mutex<HashMap<ModelName, Kept>>>);

impl TaskModels {
    /// Those of the tasks with these options; `None` in a session that is not for the tasks of one launch.
    #[must_use]
    pub fn of(options: &ConfigOptions) -> Option<&Self> {
        options.extensions.get::<Self>()
    }

    /// The model of this name as these tasks know it. The first of them reads it.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn get_or_read<M, E>(&self, name: &ModelName, read: impl FnOnce() -> Result<Arc<M>, E>) -> Result<Arc<M>, E>
    where
        M: Any + Send + Sync,
    {
        let kept = |models: &HashMap<ModelName, Kept>| Arc::clone(models.get(name)?).downcast::<M>().ok();
        if let Some(model) = kept(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(model);
        }
        // Not under the lock: other models of these tasks need not wait for this one.
        let model = read()?;
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = kept(&models) {
            return Ok(first);
        }
        if models.len() < MODELS_MAX {
            models.insert(name.clone(), Arc::clone(&model) as Kept);
        }
        Ok(model)
    }
}

impl ConfigExtension for TaskModels {
    const PREFIX: &'static str = "tusk_task_models";
}

impl ExtensionOptions for TaskModels {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        // Shared on purpose: the session is copied for every task of a launch.
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> datafusion::error::Result<()> {
        Err(DataFusionError::Configuration(format!("{}.{key} cannot be set: it is no setting", Self::PREFIX)))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use datafusion::prelude::SessionConfig;

    use super::*;

    fn name(name: &str) -> ModelName {
        ModelName::new(name).unwrap()
    }

    fn ask(models: &TaskModels, model: &str, published: u32) -> u32 {
        *models.get_or_read(&name(model), || Ok::<_, Infallible>(Arc::new(published))).unwrap()
    }

    #[test]
    fn tasks_of_a_launch_keep_their_model_and_the_next_launch_sees_the_new_one() {
        let launch = || SessionConfig::new().with_option_extension(TaskModels::default());
        let first = launch();
        assert_eq!(ask(TaskModels::of(first.options()).unwrap(), "m", 1), 1);
        // The options are copied where a setting is changed, as a query's settings are.
        let copy = first.clone().with_batch_size(7);
        for session in [&first, &copy] {
            assert_eq!(ask(TaskModels::of(session.options()).unwrap(), "m", 2), 1);
        }
        assert_eq!(ask(TaskModels::of(launch().options()).unwrap(), "m", 2), 2);
        assert!(TaskModels::of(SessionConfig::new().options()).is_none());
    }

    #[test]
    fn what_cannot_be_read_is_not_kept_and_what_is_kept_is_bounded() {
        let models = TaskModels::default();
        let failed: Result<Arc<u32>, &str> = models.get_or_read(&name("m"), || Err("no such model"));
        assert_eq!(failed.unwrap_err(), "no such model");
        assert_eq!(ask(&models, "m", 1), 1);
        (1..MODELS_MAX).for_each(|number| assert_eq!(ask(&models, &format!("m{number}"), 1), 1));
        assert_eq!((ask(&models, "more", 1), ask(&models, "more", 2)), (1, 2));
        assert_eq!(ask(&models, "m", 2), 1);
    }
}
