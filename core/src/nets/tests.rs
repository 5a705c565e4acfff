//! The registry: names, what is stored, sizes.

use super::*;

#[test]
fn names_are_unique_and_find_their_architecture() {
    assert_eq!(Architecture::NAMES.len(), NETS.len() + 1);
    for (place, name) in Architecture::NAMES.iter().enumerate() {
        assert!(!Architecture::NAMES[..place].contains(name), "{name} is there twice");
        let found = Architecture::from_name(&name.to_uppercase()).unwrap();
        assert_eq!(found.name(), *name);
        assert_eq!(found.net().is_none(), *name == "ensemble");
    }
    assert_eq!(Architecture::from_name("alexnet"), None);
}

#[test]
fn an_architecture_is_stored_by_its_name_in_lower_case() {
    for name in Architecture::NAMES {
        let json = serde_json::to_string(&Architecture::from_name(name).unwrap()).unwrap();
        assert_eq!(json, format!("\"{name}\""));
        assert_eq!(serde_json::from_str::<Architecture>(&json).unwrap().name(), *name);
    }
    let refusal = serde_json::from_str::<Architecture>("\"CNN\"").unwrap_err().to_string();
    assert!(refusal.starts_with("unknown variant `CNN`, expected one of `cnn`, `cnn_reference`, "), "{refusal}");
}

#[test]
fn nets_have_the_parameters_that_their_papers_and_our_manual_say() {
    let of = |architecture: Architecture| architecture.net().unwrap().parameters();
    assert_eq!(of(Architecture::SVM), 8101);
    // torchvision's numbers for three channels and a thousand classes, without the channels and classes that are less.
    assert_eq!(of(Architecture::RESNET18), 11_689_512 - 2 * 64 * 49 - 999 * 513);
    assert_eq!(of(Architecture::RESNET50), 25_557_032 - 2 * 64 * 49 - 999 * 2049);
    assert_eq!(of(Architecture::DENSENET121), 7_978_856 - 2 * 64 * 49 - 999 * 1025);
    assert_eq!(of(Architecture::VGG16), 138_357_544 - 2 * 64 * 9 - 999 * 4097);
}

#[test]
fn pixels_are_folded_and_maps_and_statistics_missing_where_the_layers_say_so() {
    for net in NETS {
        assert_eq!(net.inputs_per_channel(), if net.name == "cnn" { 16 } else { 1 }, "{}", net.name);
        assert_eq!(net.has_maps(), net.name != "svm", "{}", net.name);
        assert_eq!(net.has_normalisation(), !["svm", "vgg16"].contains(&net.name), "{}", net.name);
    }
}
