//! Which options of transfer learning go together.

use super::{Freeze, ModelSpec};
use crate::error::{Error, Result};
use crate::store::refuse_keys;

/// Refuses a location with a key in it, two starts, and weights that are frozen before they have learned anything.
pub(super) fn check(spec: &ModelSpec) -> Result<()> {
    if let Some(weights) = &spec.weights {
        refuse_keys(weights)?;
    }
    let refuse = |message: &str| Err(Error::ConflictingOptions { message: message.to_owned() });
    match (&spec.weights, &spec.warm_start, spec.freeze) {
        (Some(_), Some(_), _) => refuse("weights and warm_start are both where to start from; keep one"),
        (None, None, Freeze::Backbone) => refuse(
            "freeze = 'backbone' keeps all but the last layer as it starts, and it would start from random numbers; \
             give weights = 'file.safetensors' or warm_start = 'model' too",
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Architecture, Freeze, OptionValue, parse};

    #[test]
    fn a_run_has_one_start_and_freezes_only_what_has_learned() {
        let parsed = |options: &[(&str, &str)]| {
            let options: Vec<_> =
                options.iter().map(|(key, value)| ((*key).to_owned(), OptionValue::from(*value))).collect();
            parse(Architecture::RESNET18, &options).map(|(spec, _)| spec)
        };
        let message = parsed(&[("weights", "a.safetensors"), ("warm_start", "m")]).unwrap_err().to_string();
        assert_eq!(message, "weights and warm_start are both where to start from; keep one");
        let message = parsed(&[("freeze", "backbone")]).unwrap_err().to_string();
        assert!(message.contains("it would start from random numbers; give weights = "), "{message}");
        let message = parsed(&[("weights", "https://host.example/a?sig=open-sesame")]).unwrap_err().to_string();
        assert!(message.contains("a URL must not hold keys") && !message.contains("sesame"), "{message}");
        let spec = parsed(&[("freeze", "backbone"), ("weights", "s3://b/a.safetensors")]).unwrap();
        assert_eq!((spec.freeze, spec.weights.as_deref()), (Freeze::Backbone, Some("s3://b/a.safetensors")));
    }
}
