//! Tests with real errors, as executors encode them and as Ballista formats them.

use std::sync::Arc;

use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::FailedTask;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use super::{Cause, CauseKind};
use crate::error::Error;

fn io(text: &str) -> std::io::Error {
    std::io::Error::other(text)
}

/// Errors of tasks and the expected causes.
fn errors() -> Vec<(DataFusionError, CauseKind, &'static str)> {
    let missing = Error::ModelNotFound { name: "bar".into(), store: "file:///s".into(), suggestion: None };
    let cast = || ArrowError::CastError("Cannot cast string 'a \"b\" \\ c' to value of Int64 type".into());
    vec![
        (cast().into(), CauseKind::Invalid, "Cast error: Cannot cast string 'a \"b\" \\ c' to value of Int64 type"),
        (
            DataFusionError::Shared(Arc::new(DataFusionError::from(cast()))),
            CauseKind::Invalid,
            "Cast error: Cannot cast string 'a \"b\" \\ c' to value of Int64 type",
        ),
        (ArrowError::DivideByZero.into(), CauseKind::Invalid, "Divide by zero error"),
        (
            ArrowError::ExternalError(Box::new(DataFusionError::from(missing))).into(),
            CauseKind::NotFound,
            "there is no model 'bar' in file:///s. SHOW MODELS lists them",
        ),
        (DataFusionError::Plan("no\nsuch".into()), CauseKind::Invalid, "Error during planning: no\nsuch"),
        (
            DataFusionError::Execution("é: 'x' [1|2] 100 %".into()).context("reading"),
            CauseKind::Invalid,
            "reading: é: 'x' [1|2] 100 %",
        ),
        (DataFusionError::ResourcesExhausted("8 GB".into()), CauseKind::Exhausted, "Resources exhausted: 8 GB"),
        (io("the disk is gone").into(), CauseKind::Unavailable, "IO error: the disk is gone"),
        (
            DataFusionError::Execution(
                "shuffle writer drain panicked: task 12 panicked with message \"a \\\"b\\\"\"".into(),
            ),
            CauseKind::Internal,
            "a task panicked: a \"b\"",
        ),
    ]
}

/// Formats the failure of a job like Ballista.
fn job_error(task: DataFusionError) -> String {
    let task = FailedTask::from(BallistaError::from(task));
    format!("Job 038 failed: Job failed due to stage 0 failed: {}\n", task.error)
}

#[test]
fn the_root_cause_is_found_in_the_error_in_its_encoding_and_in_debug_form() {
    for (error, kind, message) in errors() {
        let cause = Cause::of(&error);
        assert_eq!((cause.kind, cause.message.as_str()), (kind, message));
        let coded = job_error(cause.clone().into());
        assert_eq!(Cause::of_text(&coded), cause, "{coded}");
        // Quoted once more, inside a typed error.
        let twice = DataFusionError::Execution(format!("{coded:?} {coded:?}"));
        assert_eq!(Cause::of(&twice), cause);
    }
    for (error, _, message) in errors() {
        let formatted = job_error(error);
        let told = Cause::of_text(&formatted).message;
        // The `Debug` form does not contain the displayed message of our own errors.
        if !formatted.contains("ModelNotFound") {
            assert_eq!(told, message, "{formatted}");
        }
    }
}

#[test]
fn a_panic_caught_by_ballista_is_reported_as_a_panic() {
    let caught = BallistaError::Internal(format!("{:#?}", "index out of \"bounds\"".to_owned()));
    let text = FailedTask::from(caught).error;
    let cause = Cause::of_text(&text);
    assert_eq!((cause.kind, cause.message.as_str()), (CauseKind::Internal, "a task panicked: index out of \"bounds\""));
    assert!(cause.to_string().ends_with("; this is a bug in Tusk; see the log of the executor"), "{cause}");
}

#[test]
fn other_text_is_not_changed() {
    for text in [
        "no executor",
        "Job x failed",
        "no f(Utf8(\"a\")); use Execution(\"x\")",
        "General (x",
        "Internal(1)",
        "tusk-error",
        "",
    ] {
        assert_eq!(Cause::of_text(text).message, text);
    }
    let long = format!("{}{}", "ArrowError(".repeat(5_000), "\"x\"");
    // If the nesting is too deep, parsing starts at an inner value.
    assert_eq!(Cause::of_text(&long).message, "x");
}

#[test]
fn a_truncated_cause_is_decoded_as_far_as_possible() {
    let coded = Cause::new(CauseKind::NotFound, "there is 100 % nothing").to_wire();
    assert_eq!(coded, "tusk-error[not-found|there is 100 %25 nothing|]");
    assert_eq!(Cause::of_text(&coded[..coded.len() - 5]).message, "there is 100 % noth");
    let long = Cause::new(CauseKind::Invalid, "é".repeat(100_000));
    assert!(Cause::of_text(&long.to_wire()).message.ends_with("éé..."));
}
