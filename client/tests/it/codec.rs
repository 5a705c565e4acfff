//! Messages keep their content on the wire, and invalid bytes are refused without a panic.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use tusk_core::codec::{decode_plan, encode_plan};
use tusk_core::engine::Predictor;
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::job::{
    Adapt, EpochSlice, Exchange, FitWeights, Job, Profile, ProfileReport, Rows, Selection, TaskReport, Train,
    TrainReport, TrainTask, UnreadableImage, Validate,
};
use tusk_core::manifest::{FileRef, Manifest, ModelDefinition, Preprocessing, RunRecord};
use tusk_core::options::{Architecture, Loss, ModelSpec, Precision};
use tusk_core::physical::{REPORT, TaskOutput, TrainExec, output_rows, report_rows, tensor_header, tensor_rows};
use tusk_core::protocol::parameters::SessionKey;
use tusk_core::state::{ModelState, NamedTensor, checksum};
use tusk_udfs::images_table::ImagesTable;
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{logical_codec, physical_codec, session_builder, session_config};

use crate::fixture::{TWO, draw, next};

fn session() -> SessionContext {
    let predictor: Arc<dyn Predictor> = Arc::new(PlanOnly);
    let state = session_builder(session_config(), Arc::<RuntimeEnv>::default(), &predictor).build();
    SessionContext::new_with_state(state)
}

/// One job of each kind.
fn jobs() -> [Job; 6] {
    let selection = Selection { rows: Rows::Training, dropped: vec![3, u64::MAX] };
    let weights = FileRef { path: "runs/m/epoch-00006.safetensors".into(), checksum: "ab".repeat(32) };
    let (slice, session) = (EpochSlice { index: 1, count: 4 }, SessionKey("0123".into()));
    [
        Profile { selection: selection.clone() }.into(),
        FitWeights { weights: weights.clone() }.into(),
        Train { selection: selection.clone(), epoch: 7, slice, weights: Some(weights.clone()) }.into(),
        Exchange { selection, first_epoch: 7, weights: None, session }.into(),
        Validate { rows: Rows::HeldOut, epoch: 7, weights: weights.clone(), copies: 4 }.into(),
        Adapt { weights, net: 2, batch_size: 64 }.into(),
    ]
}

fn task(job: Job) -> TrainTask {
    let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.data.group = Some("patient".into()));
    TrainTask {
        run: RunId::starting_at(1_764_000_000_000),
        workers: 3,
        threads: 2,
        definition: ModelDefinition {
            spec,
            classes: vec!["NORMAL".into(), "it's \"ill\"".into()],
            positive: Some(1),
            loss: Loss::BinaryCrossentropy,
            precision: Precision::Bf16,
            preprocessing: Preprocessing::plain(128, 1, 0.1 + 0.2, f64::MIN_POSITIVE),
            class_weights: vec![1.0 / 3.0, 2.5e-7],
        },
        store: "s3://bucket/models".into(),
        source_checksum: "cd".repeat(32),
        job,
    }
}

fn text(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).indent(true).to_string()
}

/// A folder of images as a physical plan.
async fn images_plan(context: &SessionContext, folder: &std::path::Path) -> Arc<dyn ExecutionPlan> {
    draw(folder, TWO, 2);
    let table = ImagesTable::try_new(folder.to_str().unwrap()).unwrap();
    let frame = context.read_table(Arc::new(table)).unwrap();
    frame.select_columns(&["image", "label"]).unwrap().create_physical_plan().await.unwrap()
}

#[tokio::test]
async fn a_training_operator_keeps_its_task_and_source_on_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let (context, codec) = (session(), physical_codec());
    let source = images_plan(&context, folder.path()).await;
    for job in jobs() {
        let exec = TrainExec::try_new(Arc::new(task(job)), Arc::clone(&source)).unwrap();
        let plan: Arc<dyn ExecutionPlan> = Arc::new(exec.clone());
        let bytes = encode_plan(Arc::clone(&plan), codec.as_ref()).unwrap();
        let again = decode_plan(&bytes, &context.task_ctx(), codec.as_ref()).unwrap();
        assert_eq!(text(&plan), text(&again));
        let decoded = again.downcast_ref::<TrainExec>().unwrap();
        assert_eq!(decoded.task(), exec.task());
        assert_eq!(text(decoded.source()), text(&source));
        assert_eq!(decoded.explain(), exec.explain());
        assert_eq!(encode_plan(again, codec.as_ref()).unwrap(), bytes, "encoding a plan again gives other bytes");
    }
}

#[tokio::test]
async fn other_plans_pass_through_the_codec_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let (context, codec) = (session(), physical_codec());
    let images = images_plan(&context, folder.path()).await;
    let file = folder.path().join("t.parquet");
    let frame = context.sql("SELECT 1 AS a, 'x' AS b").await.unwrap();
    frame.write_parquet(file.to_str().unwrap(), Default::default(), None).await.unwrap();
    context.register_parquet("t", file.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    let sql = "SELECT b, sum(a) AS s FROM t WHERE predict('m', X'00') IS NULL GROUP BY b ORDER BY s";
    let query = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    for plan in [images, query] {
        let bytes = encode_plan(Arc::clone(&plan), codec.as_ref()).unwrap();
        let again = decode_plan(&bytes, &context.task_ctx(), codec.as_ref()).unwrap();
        assert_eq!(text(&plan), text(&again));
    }
}

#[tokio::test]
async fn a_table_of_images_is_unchanged_by_the_logical_codec() {
    let folder = tempfile::tempdir().unwrap();
    draw(folder.path(), TWO, 1);
    let (context, codec) = (session(), logical_codec());
    let table: Arc<dyn TableProvider> = Arc::new(ImagesTable::try_new(folder.path().to_str().unwrap()).unwrap());
    let name = TableReference::bare("t");
    let mut bytes = Vec::new();
    codec.try_encode_table_provider(&name, Arc::clone(&table), &mut bytes).unwrap();
    let again = codec.try_decode_table_provider(&bytes, &name, table.schema(), &context.task_ctx()).unwrap();
    let location = |table: &Arc<dyn TableProvider>| table.downcast_ref::<ImagesTable>().unwrap().location().to_owned();
    assert_eq!(location(&table), location(&again));
}

/// Buffers of 0 to 299 random bytes, the same in every run.
fn noise(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 20_261_123;
    (0..count).map(move |index| (0..index % 300).map(|_| next(&mut state) as u8).collect())
}

#[tokio::test]
async fn random_bytes_are_not_a_plan_an_operator_or_a_table() {
    let context = session();
    let (physical, logical) = (physical_codec(), logical_codec());
    let (task, schema) = (context.task_ctx(), tusk_core::physical::output_schema());
    let converter = DefaultPhysicalProtoConverter {};
    for bytes in noise(600) {
        assert!(decode_plan(&bytes, &task, physical.as_ref()).is_err(), "{bytes:?}");
        assert!(physical.try_decode(&bytes, &[], &task, &converter).is_err(), "{bytes:?}");
        let table = logical.try_decode_table_provider(&bytes, &TableReference::bare("t"), Arc::clone(&schema), &task);
        assert!(table.is_err(), "{bytes:?}");
    }
}

#[tokio::test]
async fn an_operator_with_a_damaged_byte_or_a_missing_end_never_panics() {
    let (context, codec) = (session(), physical_codec());
    let source: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(tusk_core::physical::output_schema()));
    let [_, _, train, ..] = jobs();
    let plan = Arc::new(TrainExec::try_new(Arc::new(task(train)), source).unwrap());
    // The operator's message without its table of workers, because Arrow's reader panics on some damaged tables.
    let (inputs, converter) = ([Arc::clone(plan.children()[0])], DefaultPhysicalProtoConverter {});
    let (mut bytes, task) = (Vec::new(), context.task_ctx());
    codec.try_encode(plan, &mut bytes, &converter).unwrap();
    let (mut refused, mut state) = (0, 7);
    for _ in 0..400 {
        let mut damaged = bytes.clone();
        let place = next(&mut state) as usize % bytes.len();
        damaged[place] ^= 1 << (next(&mut state) % 8);
        refused += usize::from(codec.try_decode(&damaged, &inputs, &task, &converter).is_err());
        let cut = codec.try_decode(&bytes[..place], &inputs, &task, &converter);
        assert!(cut.is_err(), "an operator cut to {place} bytes of {} was read", bytes.len());
    }
    assert!(refused > 100, "only {refused} of 400 damaged operators were refused");
    assert!(codec.try_decode(&bytes, &[], &task, &converter).is_err(), "an operator without workers was read");
}

#[test]
fn a_report_and_a_tensor_are_read_back_and_noise_is_not() {
    let profile = ProfileReport {
        task: TaskReport::of_rows(5),
        train_rows: [("A".to_owned(), 3), ("B".to_owned(), 2)].into(),
        unreadable: vec![UnreadableImage { name: "a.png".into(), reason: "it is empty".into() }],
        fingerprint: u64::MAX,
        ..ProfileReport::default()
    };
    let train = TrainReport { task: TaskReport::of_rows(5), loss_sum: 0.1 + 0.2, learning_rate: 1e-3 };
    let [profile_row] = &report_rows(WorkerId(4), &profile).unwrap()[..] else { panic!("not one row") };
    let [train_row] = &report_rows(WorkerId(4), &train).unwrap()[..] else { panic!("not one row") };
    let [found] = TaskOutput::rows(profile_row).unwrap().collect::<Vec<_>>()[..] else { panic!("not one row") };
    assert_eq!(found.report().unwrap(), Some(profile));
    assert!(found.report::<TrainReport>().is_err(), "a report on another job was read");
    let [found] = TaskOutput::rows(train_row).unwrap().collect::<Vec<_>>()[..] else { panic!("not one row") };
    assert_eq!(found.report().unwrap(), Some(train));
    let tensor = NamedTensor { name: "w".into(), shape: vec![2, 1, 3], data: vec![0.5, -1.0, 2.0, 3.0, -0.0, 1e-40] };
    let batch = tensor_rows(WorkerId(4), &tensor).next().unwrap().unwrap();
    let row = TaskOutput::rows(&batch).unwrap().next().unwrap();
    let (shape, values) = tensor_header(row.data).unwrap();
    assert_eq!((shape, values.len()), (tensor.shape, 24));
    for bytes in noise(400) {
        let batch = output_rows(WorkerId(0), REPORT, &bytes).next().unwrap().unwrap();
        assert!(TaskOutput::rows(&batch).unwrap().all(|answer| answer.report::<TrainReport>().is_err()), "{bytes:?}");
        // Noise may decode to a short shape. A long shape must be refused without allocating it.
        let sides = tensor_header(&bytes).map_or(0, |(shape, _)| shape.len());
        assert!(sides * 8 <= bytes.len(), "{bytes:?}");
    }
}

#[test]
fn noise_with_a_valid_checksum_is_not_a_model_file() {
    for bytes in noise(400) {
        assert!(ModelState::from_safetensors("w", &bytes, &checksum(&bytes)).is_err(), "{bytes:?}");
        assert!(serde_json::from_slice::<Manifest>(&bytes).is_err());
        assert!(serde_json::from_slice::<RunRecord>(&bytes).is_err());
        assert!(serde_json::from_slice::<TrainTask>(&bytes).is_err());
    }
}
