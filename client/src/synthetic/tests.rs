use super::*;

fn small() -> SyntheticOptions {
    SyntheticOptions { patients: 40, images_per_patient: 2, size: 64, ..SyntheticOptions::default() }
}

fn pixels(xray: &SyntheticXray) -> Vec<f64> {
    let grey = image::load_from_memory(&xray.image).unwrap().to_luma8();
    grey.into_raw().into_iter().map(f64::from).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The fraction of (ill, healthy) pairs in which the ill patient has the higher score.
fn roc_auc(scored: &[(f64, &str)]) -> f64 {
    let of = |class: &str| scored.iter().filter(|s| s.1 == class).map(|s| s.0).collect::<Vec<_>>();
    let (ill, healthy) = (of(PNEUMONIA), of(NORMAL));
    let won: usize = ill.iter().map(|i| healthy.iter().filter(|h| i > h).count()).sum();
    won as f64 / (ill.len() * healthy.len()) as f64
}

#[test]
fn an_image_depends_only_on_seed_patient_and_shot() {
    let options = small();
    let fifth = draw(&options, 3, 1).unwrap();
    assert_eq!(synthetic_xrays(&options).nth(4).unwrap().unwrap(), fifth);
    assert_eq!(draw(&SyntheticOptions { patients: 1, ..options.clone() }, 3, 1).unwrap(), fifth);
    for other in [
        draw(&options, 4, 1).unwrap(),
        draw(&options, 3, 2).unwrap(),
        draw(&SyntheticOptions { seed: 43, ..options.clone() }, 3, 1).unwrap(),
    ] {
        assert_ne!(other.image, fifth.image);
    }
}

#[test]
fn the_images_have_not_changed() {
    // Models and metrics in the manual come from these images. If this value changes, renew them.
    let sum = |patient| {
        let xray = draw(&SyntheticOptions::default(), patient, 1).unwrap();
        blake3::hash(&xray.image).to_hex()[..16].to_owned()
    };
    assert_eq!([sum(1), sum(2)], ["5fbe7b917f7ef963", "a1a8d0dc6c91f12a"]);
}

#[test]
fn three_of_five_patients_are_ill_in_all_of_their_images() {
    let options = small();
    let drawn: Vec<SyntheticXray> = synthetic_xrays(&options).map(Result::unwrap).collect();
    assert_eq!(drawn.len(), 80);
    assert!((46..=50).contains(&drawn.iter().filter(|p| p.label == PNEUMONIA).count()));
    for pair in drawn.chunks(2) {
        assert_eq!((pair[0].label, &pair[0].group), (pair[1].label, &pair[1].group));
    }
    for (fraction, label) in [(0.0, NORMAL), (1.0, PNEUMONIA)] {
        let options = SyntheticOptions { pneumonia_fraction: fraction, patients: 10, ..options.clone() };
        assert!(synthetic_xrays(&options).all(|xray| xray.unwrap().label == label));
    }
}

#[test]
fn names_contain_class_patient_and_shot() {
    let xray = draw(&small(), 7, 2).unwrap();
    assert_eq!(xray.group, "person0007");
    assert_eq!(xray.path, format!("{}/person0007_2.jpeg", xray.label));
}

#[test]
fn mean_brightness_does_not_separate_the_classes() {
    let options = SyntheticOptions { patients: 200, images_per_patient: 1, ..small() };
    let drawn: Vec<SyntheticXray> = synthetic_xrays(&options).map(Result::unwrap).collect();
    let scored: Vec<(f64, &str)> = drawn.iter().map(|p| (mean(&pixels(p)), p.label)).collect();
    let auc = roc_auc(&scored);
    assert!((0.40..0.60).contains(&auc), "ROC AUC of the mean is {auc}");
}

#[test]
fn pneumonia_changes_the_lungs_of_the_same_patient() {
    // The same patient ill and healthy, with the same parameters: only the lesions differ.
    for patient in 1..=20 {
        let density = |ill: bool| {
            let mut anatomy = Anatomy::draw(5, patient, ill);
            anatomy.texture = shape::Noise::new(22, &mut Rng::new([0; 4]));
            let (mut shot, mut dice) = Shot::draw(5, patient, 1);
            (shot.grain, shot.brightness) = (0.0, 0.5);
            render::render(&anatomy, &shot, &mut dice, 64).into_iter().map(f64::from).collect::<Vec<_>>()
        };
        let (ill, healthy) = (density(true), density(false));
        let changed = ill.iter().zip(&healthy).filter(|(a, b)| (*a - *b).abs() > 12.0).count();
        assert!(changed > 40, "patient {patient}: only {changed} of 4096 pixels show the disease");
    }
}

#[test]
fn a_tree_has_every_image_under_its_class() {
    let dir = tempfile::tempdir().unwrap();
    let options = SyntheticOptions { patients: 6, ..small() };
    let mut seen = Vec::new();
    let written = write_tree(dir.path(), &options, &mut |done, total| seen.push((done, total))).unwrap();
    assert_eq!((written, seen.len(), seen[11]), (12, 12, (12, 12)));
    for xray in synthetic_xrays(&options) {
        let xray = xray.unwrap();
        assert_eq!(std::fs::read(dir.path().join(&xray.path)).unwrap(), xray.image);
    }
}

#[test]
fn an_invalid_size_and_a_folder_that_cannot_be_created_are_errors() {
    for size in [0, 15, 4097, u32::MAX] {
        let error = draw(&SyntheticOptions { size, ..small() }, 1, 1).unwrap_err();
        assert!(error.to_string().contains(&format!("size must be in 16..=4096, got {size}")), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let error = write_tree(&blocked, &small(), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().starts_with("cannot write ") && error.to_string().contains("NORMAL: "), "{error}");
}
