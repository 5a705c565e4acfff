//! Options of transfer learning, and the checks of their combinations.

use super::accepts::{Quoted, QuotedText, Text, Unset};
use super::declare::options;
use super::{Freeze, ModelSpec};
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::store::foreign::refuse_keys;

options! {
    /// The initial weights of a run, if they are not random.
    "Start" start: StartOptions {
        /// Name of a published model whose weights the run starts from.
        warm_start: Option<ModelName> = None, Unset("none", Quoted), before None;
        /// File of initial weights. Tensors are used if their name and shape match; names are those of torchvision,
        /// except for the nets of Tusk.
        weights: Option<String> = None, Unset("none", Text("a path or URL of a safetensors file")), before None;
        /// Which weights are not trained: none, or those of the backbone.
        freeze: Freeze = Freeze::None, Quoted, before Freeze::None;
    }
}

impl QuotedText for ModelName {
    fn from_text(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }

    fn expected() -> String {
        "a model's name".to_owned()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// Returns an error if the location contains a key, if two starts are given, or if random weights would be frozen.
pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    if let Some(weights) = &spec.start.weights {
        refuse_keys(weights)?;
    }
    let refuse = |message: &str| Err(Error::ConflictingOptions { message: message.to_owned() });
    match (&spec.start.weights, &spec.start.warm_start, spec.start.freeze) {
        (Some(_), Some(_), _) => refuse("weights and warm_start exclude each other; keep one"),
        (None, None, Freeze::Backbone) => refuse(
            "freeze = 'backbone' trains only the last layer, so the others would stay random; \
             give weights = 'file.safetensors' or warm_start = 'model' too",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::options::{Architecture, Freeze, OptionValue, parse};

    #[test]
    fn two_starts_and_frozen_random_weights_are_refused() {
        let parsed = |options: &[(&str, &str)]| {
            let options: Vec<_> =
                options.iter().map(|(key, value)| ((*key).to_owned(), OptionValue::from(*value))).collect();
            parse(Architecture::RESNET18, &options).map(|(spec, _)| spec)
        };
        let message = parsed(&[("weights", "a.safetensors"), ("warm_start", "m")]).unwrap_err().to_string();
        assert_eq!(message, "weights and warm_start exclude each other; keep one");
        let message = parsed(&[("freeze", "backbone")]).unwrap_err().to_string();
        assert!(message.contains("so the others would stay random; give weights = "), "{message}");
        let message = parsed(&[("weights", "https://host.example/a?sig=open-sesame")]).unwrap_err().to_string();
        assert!(message.contains("a URL must not hold keys") && !message.contains("sesame"), "{message}");
        let spec = parsed(&[("freeze", "backbone"), ("weights", "s3://b/a.safetensors")]).unwrap();
        assert_eq!(
            (spec.start.freeze, spec.start.weights.as_deref()),
            (Freeze::Backbone, Some("s3://b/a.safetensors"))
        );
    }
}
