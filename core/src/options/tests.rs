//! Tests of option declarations and of stored specs.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::set::set;
use super::*;

/// A stored spec of the first version, with values that differ from the current defaults.
fn oldest() -> Value {
    json!({
        "architecture": "cnn", "image": "image", "label": "kind", "group": null, "epochs": 3, "batch_size": 8, "seed": 7,
        "loss": null, "optimizer": "sgd", "learning_rate": 0.25, "momentum": 0.5, "weight_decay": 0.0,
        "schedule": "step", "mode": "hogwild", "workers": null, "image_size": 96, "channels": 3,
        "normalize": { "given": { "mean": 0.5, "std": 0.25 } }, "augment": ["rotate"], "class_weights": "none",
        "validation_fraction": 0.0, "early_stop": false, "patience": 1, "positive": null, "threshold": { "given": 0.5 },
        "precision": "f32", "device": { "cuda": 1 }, "max_bad_fraction": 0.5, "warm_start": null
    })
}

fn object(spec: &ModelSpec) -> Map<String, Value> {
    serde_json::to_value(spec).unwrap().as_object().unwrap().clone()
}

#[test]
fn a_default_with_a_literal_is_parsed_to_the_same_value() {
    for architecture in [Architecture::CNN, Architecture::CNN_REFERENCE, Architecture::VGG16] {
        let spec = ModelSpec::new(architecture);
        for def in option_defs() {
            let Some(literal) = def.value(&spec) else { continue };
            let mut again = spec.clone();
            set(&mut again, def.name, &literal).unwrap();
            assert_eq!(again, spec, "{} = {literal}", def.name);
        }
    }
}

#[test]
fn a_formatted_value_is_parsed_to_the_same_value() {
    let spec: ModelSpec = serde_json::from_value(oldest()).unwrap();
    let mut again = ModelSpec::new(Architecture::CNN);
    for def in option_defs() {
        if let Some(literal) = def.value(&spec) {
            set(&mut again, def.name, &literal).unwrap();
        }
    }
    assert_eq!(again, spec);
}

#[test]
fn a_net_differs_from_the_declared_defaults_only_where_it_may() {
    for name in Architecture::NAMES {
        let spec = ModelSpec::new(architecture(name).unwrap());
        for def in option_defs().filter(|def| !def.is_per_net()) {
            assert_eq!(def.value(&spec), (def.default)(), "{} of {name}", def.name);
        }
    }
}

#[test]
fn every_option_has_a_unique_name_and_field() {
    let mut names = HashSet::from(["resume"]);
    for def in option_defs() {
        assert!(names.insert(def.name), "{} is declared twice", def.name);
        assert!(def.meaning.ends_with('.') && !def.meaning.contains("  "), "{}", def.meaning);
    }
    // All fields of the JSON except the architecture, the fold and the search, and the four options of the search.
    assert_eq!(option_defs().count(), object(&ModelSpec::new(Architecture::CNN)).len() - 3 + 4);
}

#[test]
fn the_json_of_a_spec_is_flat() {
    let spec = object(&ModelSpec::new(Architecture::CNN));
    for key in oldest().as_object().unwrap().keys() {
        assert!(spec.contains_key(key), "{key}");
    }
    for later in ["features", "frequency", "outer_optimizer", "averages_per_epoch", "fold", "freeze", "members"] {
        assert!(spec.contains_key(later), "{later}");
    }
    let search: HashSet<&str> = spec["search"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(search, HashSet::from(["strategy", "trials", "parallel_trials", "objective", "space"]));
}

#[test]
fn a_spec_stored_before_an_option_existed_keeps_its_meaning() {
    let spec: ModelSpec = serde_json::from_value(oldest()).unwrap();
    assert_eq!((spec.optimizer.algorithm, spec.optimizer.ema), (Optimizer::Sgd, None));
    assert_eq!(spec.input.normalize, Normalize::Given { mean: 0.5, std: 0.25 });
    assert_eq!(spec.distribution.device, Device::Cuda(1));
    // The current defaults differ.
    assert_eq!((spec.distribution.averages_per_epoch, spec.distribution.scale_learning_rate), (Some(1), false));
    let mut expected = ModelSpec::new(Architecture::CNN);
    expected.distribution.averages_per_epoch = Some(1);
    expected.distribution.scale_learning_rate = false;
    expected.data.on_shortcut = OnShortcut::Ignore;
    let (mut stored, oldest) = (object(&expected), oldest());
    stored.extend(oldest.as_object().unwrap().clone());
    assert_eq!(object(&spec), stored);
}

#[test]
fn null_is_a_value_and_not_a_missing_option() {
    let spec = ModelSpec::new(Architecture::CNN);
    assert_eq!(object(&spec)["averages_per_epoch"], Value::Null);
    assert_eq!(serde_json::from_value::<ModelSpec>(object(&spec).into()).unwrap(), spec);
}

#[test]
fn a_spec_without_a_required_field_is_refused() {
    for missing in ["architecture", "epochs", "batch_size", "optimizer", "learning_rate", "augment", "threshold"] {
        let mut json = oldest();
        json.as_object_mut().unwrap().remove(missing).unwrap();
        let message = serde_json::from_value::<ModelSpec>(json).unwrap_err().to_string();
        assert_eq!(message, format!("missing field `{missing}`"));
    }
}
