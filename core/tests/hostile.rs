//! Runs the checks of the fuzz targets on the stored corpus and on damaged valid messages.
//!
//! Inputs found by `cargo fuzz` are kept in `tests/corpus/TARGET`.
#![expect(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "a test that fails should say where")]

mod checks;
mod damage;

use std::sync::Arc;

use damage::{batter, corpus};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use datafusion_proto::physical_plan::{DefaultPhysicalProtoConverter, PhysicalExtensionCodec};
use prost::Message;
use tusk_core::codec::{TuskPhysicalCodec, decode_plan, encode_plan};
use tusk_core::ids::{RunId, WorkerId};
use tusk_core::job::{
    Adapt, AdaptReport, EpochSlice, Exchange, FitWeights, FitWeightsReport, Job, LayerStatistics, Profile,
    ProfileReport, Rows, Selection, Statistics, TaskReport, Train, TrainReport, TrainTask, Validate,
};
use tusk_core::manifest::{FileRef, ModelDefinition, Preprocessing};
use tusk_core::options::{Architecture, Loss, ModelSpec, Precision};
use tusk_core::physical::{TaskOutput, TrainExec, output_schema, tensor_rows};
use tusk_core::protocol::parameters::SessionKey;
use tusk_core::state::{ModelState, NamedTensor, checksum};
use tusk_core::transfer::Transfer;

fn weights_file() -> FileRef {
    FileRef { path: "runs/m/epoch-00006.safetensors".into(), checksum: "ab".repeat(32) }
}

/// One of each kind.
fn jobs() -> [Job; 6] {
    let selection = Selection { rows: Rows::Training, dropped: vec![3, u64::MAX] };
    let session = SessionKey("0123".into());
    let weights = Some(weights_file());
    [
        Train { selection: selection.clone(), epoch: 7, slice: EpochSlice::WHOLE, weights: weights.clone() }.into(),
        Profile { selection: selection.clone() }.into(),
        FitWeights { weights: weights_file() }.into(),
        Exchange { selection, first_epoch: 7, weights, session }.into(),
        Validate { rows: Rows::HeldOut, epoch: 7, weights: weights_file(), copies: 4 }.into(),
        Adapt { weights: weights_file(), net: 1, batch_size: 64 }.into(),
    ]
}

fn task() -> TrainTask {
    let [job, ..] = jobs();
    TrainTask {
        run: RunId::starting_at(1_764_000_000_000),
        workers: 2,
        threads: 2,
        definition: ModelDefinition {
            spec: ModelSpec::new(Architecture::CNN),
            classes: vec!["NORMAL".into(), "PNEUMONIA".into()],
            positive: Some(1),
            loss: Loss::BinaryCrossentropy,
            precision: Precision::F32,
            preprocessing: Preprocessing::plain(128, 1, 0.5, 0.25),
            class_weights: vec![1.0, 0.5],
        },
        store: "s3://bucket/models".into(),
        source_checksum: "cd".repeat(32),
        job,
    }
}

fn train_exec() -> Arc<dyn ExecutionPlan> {
    let source = Arc::new(EmptyExec::new(output_schema()));
    Arc::new(TrainExec::try_new(Arc::new(task()), source).unwrap())
}

fn state() -> ModelState {
    let tensor = |name: &str, shape: Vec<usize>| {
        let values = shape.iter().product();
        NamedTensor { name: name.into(), shape, data: vec![0.5; values] }
    };
    ModelState::new([tensor("fc.weight", vec![2, 3]), tensor("fc.bias", vec![2]), tensor("optimizer.step", vec![])])
}

async fn messages() -> Vec<Vec<u8>> {
    let codec = TuskPhysicalCodec::default();
    let sql = "SELECT b, sum(a) AS s FROM (VALUES (1, 'x'), (2, 'y')) AS t (a, b) WHERE a > 0 GROUP BY b ORDER BY s";
    let query = SessionContext::new().sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let mut operator = Vec::new();
    codec.try_encode(train_exec(), &mut operator, &DefaultPhysicalProtoConverter {}).unwrap();
    let task = |job| serde_json::to_vec(&TrainTask { job, ..task() }).unwrap();
    let plans = [encode_plan(train_exec(), &codec).unwrap(), encode_plan(query, &codec).unwrap()];
    [&plans[..], &[operator, state().to_safetensors().unwrap()], &jobs().map(task)].concat()
}

#[test]
fn no_input_of_the_corpus_panics() {
    for (target, check) in [("codec", checks::codec as fn(&[u8])), ("task_output", checks::task_output)] {
        let folder = corpus(target);
        let mut inputs = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} is empty", folder.display());
    }
}

#[tokio::test]
async fn damaged_messages_do_not_panic() {
    batter("codec", checks::codec, &messages().await);
}

#[test]
fn damaged_task_outputs_do_not_panic() {
    let task = TaskReport::of_rows(5);
    let reports = [
        serde_json::to_vec(&ProfileReport {
            task: task.clone(),
            train_rows: [("A".to_owned(), 3)].into(),
            ..ProfileReport::default()
        }),
        serde_json::to_vec(&FitWeightsReport { task: task.clone(), transfer: Some(Transfer::default()) }),
        serde_json::to_vec(&TrainReport { task: task.clone(), loss_sum: 2.5, learning_rate: 0.1 }),
        serde_json::to_vec(&AdaptReport { task }),
    ];
    let row = |tensor: &NamedTensor| {
        let batch = tensor_rows(WorkerId(0), tensor).next().unwrap().unwrap();
        TaskOutput::rows(&batch).unwrap().next().unwrap().data.to_vec()
    };
    let tensors = state().iter().map(row).collect::<Vec<_>>();
    let mut statistics = Statistics::default();
    statistics.add("bn1", LayerStatistics { rows: 5, mean: vec![0.5, -1.0], variance: vec![2.0, 0.0] }).unwrap();
    let layers = statistics.rows(WorkerId(0)).map(Result::unwrap);
    let layers = layers.map(|batch| TaskOutput::rows(&batch).unwrap().next().unwrap().data.to_vec()).collect();
    let valid = [reports.map(Result::unwrap).to_vec(), tensors, layers].concat();
    batter("task_output", checks::task_output, &valid);
}

/// A message of [`tusk_core::codec`] around a plan: a training operator as an operator of DataFusion's.
fn wrapped(source: Vec<u8>, task: &[u8]) -> Vec<u8> {
    let field = |tag: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut out);
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    };
    let train = [field(1, task), field(2, &source)].concat();
    let node = datafusion_proto::protobuf::PhysicalExtensionNode { node: field(1, &train), inputs: vec![empty()] };
    let kind = datafusion_proto::protobuf::physical_plan_node::PhysicalPlanType::Extension(node);
    datafusion_proto::protobuf::PhysicalPlanNode { physical_plan_type: Some(kind) }.encode_to_vec()
}

fn empty() -> datafusion_proto::protobuf::PhysicalPlanNode {
    let plan: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(output_schema()));
    let bytes = encode_plan(plan, &TuskPhysicalCodec::default()).unwrap();
    datafusion_proto::protobuf::PhysicalPlanNode::decode(bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn nested_training_operators_do_not_overflow_the_stack() {
    let task = serde_json::to_vec(&task()).unwrap();
    let context = SessionContext::new().task_ctx();
    let decode = |bytes: &[u8]| decode_plan(bytes, &context, &TuskPhysicalCodec::default());
    let mut bytes = wrapped(empty().encode_to_vec(), &task);
    decode(&bytes).unwrap();
    for _ in 0..5000 {
        bytes = wrapped(bytes, &task);
    }
    let message = decode(&bytes).unwrap_err().to_string();
    assert!(message.contains("it is nested in the source of another"), "{message}");
}

#[test]
fn a_task_with_too_many_workers_is_refused() {
    let mut many = task();
    many.workers = u32::MAX;
    let bytes = wrapped(empty().encode_to_vec(), &serde_json::to_vec(&many).unwrap());
    let context = SessionContext::new().task_ctx();
    let message = decode_plan(&bytes, &context, &TuskPhysicalCodec::default()).unwrap_err().to_string();
    assert!(message.contains("it is for 4294967295 workers"), "{message}");
}

/// A safetensors file of this header, with its right length before it and `values` behind it.
fn weights(header: &str, values: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; values]].concat()
}

#[test]
fn weights_with_impossible_headers_are_reported_as_damage() {
    let tensor = |shape: &str, start: u64, end: u64| {
        format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{start},{end}]}}}}")
    };
    let files = [
        u64::MAX.to_le_bytes().to_vec(),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        [&(1_u64 << 40).to_le_bytes()[..], b"{}"].concat(),
        weights(&tensor("[18446744073709551615,2]", 0, 8), 8),
        weights(&tensor("[4611686018427387904,4]", 0, 0), 0),
        weights(&tensor("[2]", 0, u64::MAX), 8),
        weights(&tensor("[2]", u64::MAX - 7, u64::MAX), 8),
        weights(&tensor("[2]", 8, 0), 8),
        weights(&tensor("[-1]", 0, 8), 8),
        weights(&format!("{{\"w\":{}", "[".repeat(100_000)), 0),
        weights(&tensor("[1]", 0, 8).replace("F32", "F64"), 8),
        weights("{\"__metadata__\":{\"a\":[]}}", 0),
    ];
    for bytes in files {
        let message =
            ModelState::from_safetensors("m/w.safetensors", &bytes, &checksum(&bytes)).unwrap_err().to_string();
        assert!(message.starts_with("m/w.safetensors is damaged: "), "{message}");
    }
    // Sides that cancel out: no values, and nothing is allocated for them.
    let empty = weights(&tensor("[0,18446744073709551615]", 0, 0), 0);
    drop(ModelState::from_safetensors("w", &empty, &checksum(&empty)));
}

#[tokio::test]
async fn a_table_that_declares_gigabytes_is_refused_before_allocation() {
    let codec = TuskPhysicalCodec::default();
    let bytes = encode_plan(train_exec(), &codec).unwrap();
    let context = SessionContext::new().task_ctx();
    decode_plan(&bytes, &context, &codec).unwrap();
    let mut refused = 0;
    // Somewhere in the table of workers stands the length of a body; every place is tried.
    for place in 0..bytes.len() - 8 {
        let mut claims = bytes.clone();
        claims[place..place + 8].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        let error = decode_plan(&claims, &context, &codec).err().map(|e| e.to_string()).unwrap_or_default();
        refused += usize::from(error.contains("declares more bytes than it has"));
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn a_table_in_a_plan_must_be_a_valid_stream() {
    let codec = TuskPhysicalCodec::default();
    let bytes = encode_plan(train_exec(), &codec).unwrap();
    let context = SessionContext::new().task_ctx();
    // Without the mark before a message, its first bytes are a length of up to 2 GiB that is allocated at once.
    let mark = bytes.windows(4).position(|window| window == [0xFF; 4]).unwrap();
    for (place, expected) in [(mark, "is not valid"), (mark + 6, "declares more bytes than it has")] {
        let mut damaged = bytes.clone();
        damaged[place] = 0x7E;
        let message = decode_plan(&damaged, &context, &codec).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
