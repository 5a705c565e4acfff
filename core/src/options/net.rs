//! Options of the net.

use super::accepts::{Accepts, Quoted};
use super::declare::options;
use super::{Architecture, Features, ModelSpec, OptionValue, Precision, option_defs};
use crate::error::{Error, Result};
use crate::ids::ModelName;

options! {
    /// The net and its number format.
    "Net" net: NetOptions {
        /// Features of an svm: histograms of oriented gradients, or pixels.
        features: Features = Features::Hog, Quoted, before Features::Hog;
        /// The models of an ensemble.
        members: Vec<ModelName> = Vec::new(), Names, before Vec::new(), [Fixed, Ensemble];
        /// Number format inside the net.
        precision: Precision = Precision::Auto, Quoted;
    }
}

/// Names of models, separated by commas.
struct Names;

impl Accepts<Vec<ModelName>> for Names {
    fn parse(&self, literal: &OptionValue) -> Option<Vec<ModelName>> {
        let OptionValue::Text(text) = literal else { return None };
        text.split(',').map(|name| ModelName::new(name.trim()).ok()).collect()
    }

    fn expected(&self) -> String {
        "names of models, separated by commas".to_owned()
    }

    fn literal(&self, names: &Vec<ModelName>) -> Option<OptionValue> {
        let names: Vec<&str> = names.iter().map(ModelName::as_str).collect();
        (!names.is_empty()).then(|| OptionValue::Text(names.join(", ")))
    }
}

/// Returns an error if a net has members, or if an ensemble has options that its members define.
pub(super) fn check(spec: &ModelSpec, is_given: impl Fn(&str) -> bool) -> Result<()> {
    let refuse = |message: String| Err(Error::ConflictingOptions { message });
    match (spec.architecture, spec.net.members.is_empty()) {
        (Architecture::Ensemble, true) => {
            refuse("an ensemble is made of models: OPTIONS (members = 'a, b, c')".to_owned())
        }
        (Architecture::Ensemble, false) => {
            let theirs = option_defs().filter(|def| !def.is_for_ensembles()).map(|def| def.name);
            let Some(name) = theirs.chain(["resume"]).find(|name| is_given(name)) else { return Ok(()) };
            let ours: Vec<&str> = option_defs().filter(|def| def.is_for_ensembles()).map(|def| def.name).collect();
            refuse(format!(
                "{name} is not for an ensemble: its nets stay as they were trained; it takes {}",
                ours.join(", ")
            ))
        }
        (_, false) => refuse("members are for an ensemble; write USING ensemble, or leave members out".to_owned()),
        (_, true) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::parse;

    #[test]
    fn invalid_options_of_an_ensemble_are_refused() {
        let refusal = |architecture, options: &[(&str, OptionValue)]| {
            let options: Vec<_> = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
            parse(architecture, &options).map(|(spec, _)| spec.net.members).unwrap_err().to_string()
        };
        let message = refusal(Architecture::CNN, &[("members", "a,b".into())]);
        assert!(message.starts_with("members are for an ensemble"), "{message}");
        let message = refusal(Architecture::Ensemble, &[]);
        assert_eq!(message, "an ensemble is made of models: OPTIONS (members = 'a, b, c')");
        for (name, value) in [("tta", 4_u64.into()), ("positive", "A".into()), ("resume", true.into())] {
            let message = refusal(Architecture::Ensemble, &[("members", "a,b".into()), (name, value)]);
            assert!(message.starts_with(&format!("{name} is not for an ensemble: ")), "{message}");
            assert!(message.ends_with("it takes members, image, label, group, threshold"), "{message}");
        }
        let given = [("members", "a,b"), ("image", "i"), ("label", "l"), ("group", "g")];
        let mut given: Vec<_> = given.map(|(key, value)| (key.to_owned(), OptionValue::from(value))).to_vec();
        given.push(("threshold".to_owned(), 0.5.into()));
        assert!(parse(Architecture::Ensemble, &given).is_ok());
    }
}
