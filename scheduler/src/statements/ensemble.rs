//! CREATE MODEL ... USING ensemble: a model whose probabilities are the means of its members' probabilities.

use tusk_core::Error;
use tusk_core::ids::{ModelName, RunId};
use tusk_core::manifest::{DataProfile, FORMAT_VERSION, Manifest, Member, ModelDefinition};
use tusk_core::options::{
    Architecture, DataOptions, ModelSpec, NetOptions, PredictionOptions, SplitOptions, Threshold,
};
use tusk_core::state::ModelState;
use tusk_core::store::ModelStore;

use super::evaluate_model::validation;
use crate::error::Result;
use crate::run::unix_ms;
use crate::session::{Rows, Session};

/// Creates and publishes an ensemble. It contains a copy of its members' weights, so it does not change when a member
/// is replaced.
///
/// Its threshold, calibration and metrics are computed on the rows of VALIDATE ON. Without these, its threshold is the
/// mean of its nets' thresholds.
pub(super) async fn create(
    context: &Session,
    name: &ModelName,
    or_replace: bool,
    spec: ModelSpec,
    validate: Option<Rows>,
) -> Result<Manifest> {
    let store = context.training()?.store();
    name.refuse_child()?;
    if !or_replace && store.find_manifest(name).await?.is_some() {
        return Err(Error::ModelExists { name: name.to_string() }.into());
    }
    let mut models = Vec::new();
    for name in &spec.net.members {
        models.push(store.manifest(name).await?);
    }
    let (mut manifest, state) = combined(store, name.clone(), spec, &models).await?;
    if let Some(rows) = validate {
        // The draft has another name until the threshold is known.
        let draft = Manifest { name: name.child("new")?, ..manifest.clone() };
        let draft = Manifest { weights: store.write_weights(&draft.name, &state).await?, ..draft };
        store.publish(&draft).await?;
        let validated = validation(context, &draft, &rows).await;
        store.drop_model(&draft.name).await?;
        let validation = validated?;
        let decision = validation.decision(&manifest.definition);
        manifest.threshold = decision.map(|decision| decision.threshold).or(manifest.threshold);
        manifest.threshold_range = decision.and_then(|decision| decision.range);
        manifest.calibration = validation.calibration(&manifest.definition);
        manifest.data.val_rows = validation.rows(&manifest.definition);
        manifest.validation = validation.report(&manifest.definition);
    }
    manifest.weights = store.write_weights(name, &state).await?;
    store.publish(&manifest).await?;
    Ok(manifest)
}

/// Returns the manifest and the weights of the ensemble before validation. The weights are not written to the store.
async fn combined(
    store: &ModelStore,
    name: ModelName,
    spec: ModelSpec,
    models: &[Manifest],
) -> Result<(Manifest, ModelState)> {
    let Some(first) = models.first() else {
        return Err(Error::ConflictingOptions { message: "an ensemble needs members".to_owned() }.into());
    };
    let (mut members, mut states) = (Vec::new(), Vec::new());
    for model in models {
        let (ours, theirs) = (&first.definition, &model.definition);
        if (&ours.classes, ours.positive) != (&theirs.classes, theirs.positive) {
            let message = format!(
                "'{}' has the classes {} and '{}' has {}; members of an ensemble must have the same classes and the \
                 same positive class",
                first.name,
                ours.classes.join(", "),
                model.name,
                theirs.classes.join(", ")
            );
            return Err(Error::Data { message }.into());
        }
        if model.prior().is_some() {
            let message = format!(
                "'{}' is corrected for the class frequencies of a site, which an ensemble would not be; combine models without \
                 class_prior, and adapt the ensemble",
                model.name
            );
            return Err(Error::ConflictingOptions { message }.into());
        }
        let state = store.read_state(&model.weights).await?;
        // The members of a member that is an ensemble become members.
        for Member { name, definition } in &model.members {
            let full = format!("{}.{name}", model.name);
            states.push(state.member(name).as_member(&full));
            members.push(Member { name: full, definition: definition.clone() });
        }
        if model.members.is_empty() {
            members.push(Member { name: model.name.to_string(), definition: theirs.clone() });
            states.push(state.as_member(model.name.as_str()));
        }
    }
    let threshold = match spec.prediction.threshold {
        Threshold::Given(threshold) => Some(threshold),
        Threshold::Auto => {
            // Each net has the same weight, as in the mean of the probabilities.
            let nets = |model: &Manifest| model.members.len().max(1) as f64;
            let sum: Option<f64> = models.iter().map(|model| Some(model.threshold? * nets(model))).sum();
            sum.map(|sum| sum / models.iter().map(nets).sum::<f64>())
        }
    };
    let (theirs, plain) = (&first.definition.spec, ModelSpec::new(Architecture::Ensemble));
    let column = |ours: String, plain: &str, theirs: &str| if ours == plain { theirs.to_owned() } else { ours };
    let spec = ModelSpec {
        architecture: Architecture::Ensemble,
        net: NetOptions { members: spec.net.members, ..theirs.net.clone() },
        data: DataOptions {
            image: column(spec.data.image, &plain.data.image, &theirs.data.image),
            label: column(spec.data.label, &plain.data.label, &theirs.data.label),
            group: spec.data.group.or_else(|| theirs.data.group.clone()),
            ..theirs.data.clone()
        },
        split: SplitOptions { folds: None, validation_fraction: 0.0, ..theirs.split.clone() },
        prediction: PredictionOptions { threshold: spec.prediction.threshold, ..theirs.prediction.clone() },
        ..theirs.clone()
    };
    let state = ModelState::together(states);
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        name,
        run: RunId::starting_at(unix_ms()),
        created_unix_ms: unix_ms(),
        definition: ModelDefinition { spec, ..first.definition.clone() },
        threshold,
        threshold_range: None,
        calibration: None,
        validation: None,
        best_epoch: 0,
        epochs: Vec::new(),
        data: DataProfile::default(),
        uses: None,
        transfer: None,
        parameters: state.parameters() as u64,
        weights: first.weights.clone(),
        tusk_version: env!("CARGO_PKG_VERSION").to_owned(),
        members,
        adapted: Vec::new(),
    };
    Ok((manifest, state))
}
