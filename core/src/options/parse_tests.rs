//! Tests of parsing options and of the errors.

use super::*;
use crate::augment::{cutout, noise};
use crate::options::{Device, Normalize, Threshold};

fn message(key: &str, value: impl Into<OptionValue>) -> String {
    parse(Architecture::CNN, &[(key.to_owned(), value.into())]).unwrap_err().to_string()
}

#[test]
fn the_error_for_a_misspelt_option_suggests_the_nearest_one() {
    let message = message("epoch", 3_u64);
    assert!(message.starts_with("unknown option 'epoch'; did you mean 'epochs'?"), "{message}");
}

#[test]
fn the_error_for_a_misspelt_value_suggests_the_nearest_one() {
    assert_eq!(
        message("optimizer", "adamm"),
        "option 'optimizer' is 'adamm'; it takes 'sgd', 'adam', 'adamw'; did you mean 'adam'?"
    );
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    assert_eq!(message("epochs", 0_u64), "option 'epochs' is 0; it takes a whole number from 1 to 10000");
    assert_eq!(
        message("validation_fraction", 1.5),
        "option 'validation_fraction' is 1.5; it takes a number from 0 to 0.9"
    );
    assert_eq!(message("epochs", 2.5), "option 'epochs' is 2.5; it takes a whole number from 1 to 10000");
}

#[test]
fn what_lies_on_a_bound_is_accepted_where_the_message_says_so() {
    let accepted = |key: &str, value: f64| parse(Architecture::CNN, &[(key.to_owned(), value.into())]).is_ok();
    for bound in [0.0, 1.0] {
        let expected = format!("option 'threshold' is {bound}; it takes 'auto' or a number between 0 and 1");
        assert_eq!(message("threshold", bound), expected);
    }
    assert!(accepted("threshold", 0.001) && accepted("threshold", 0.999));
    assert!(accepted("weight_decay", 0.0) && accepted("weight_decay", 1.0));
    assert!(accepted("learning_rate", 10.0) && !accepted("learning_rate", 0.0));
    assert!(accepted("momentum", 0.0) && accepted("momentum", 0.999_999));
    assert_eq!(message("momentum", 1.0), "option 'momentum' is 1; it takes a number from 0 to 0.999999");
    assert_eq!(message("image_size", 0_u64), "option 'image_size' is 0; it takes a multiple of 32 from 32 to 1024");
}

#[test]
fn an_option_given_twice_is_refused() {
    let twice = [("epochs".to_owned(), 3_u64.into()), ("EPOCHS".to_owned(), 4_u64.into())];
    let error = parse(Architecture::CNN, &twice).unwrap_err();
    assert_eq!(error.to_string(), "option 'EPOCHS' is given twice; keep one");
}

#[test]
fn every_option_is_parsed() {
    let given: Vec<(String, OptionValue)> = vec![
        ("group".into(), "patient".into()),
        ("loss".into(), "mean_squared_error".into()),
        ("workers".into(), 3_u64.into()),
        ("normalize".into(), "0.5, 0.25".into()),
        ("augment".into(), "rotate, noise".into()),
        ("class_weights".into(), "NORMAL=2, PNEUMONIA=0.5".into()),
        ("threshold".into(), 0.4.into()),
        ("device".into(), "cuda:1".into()),
        ("resume".into(), true.into()),
    ];
    let (spec, resume) = parse(Architecture::RESNET18, &given).unwrap();
    assert!(resume);
    assert_eq!(spec.data.group.as_deref(), Some("patient"));
    assert_eq!(spec.distribution.workers, Some(3));
    assert_eq!(spec.input.normalize, Normalize::Given { mean: 0.5, std: 0.25 });
    assert!(spec.input.augment.has(noise::TRANSFORM) && !spec.input.augment.has(cutout::TRANSFORM));
    assert_eq!(spec.prediction.threshold, Threshold::Given(0.4));
    assert_eq!(spec.distribution.device, Device::Cuda(1));
    assert_eq!(spec.input.image_size, 224);
}

#[test]
fn a_spec_survives_json() {
    let (spec, _) = parse(Architecture::CNN, &[("class_weights".into(), "A=1.5".into())]).unwrap();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
}
