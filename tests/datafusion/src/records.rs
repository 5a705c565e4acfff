//! Runs the records of a test file, one after another, and says what became of each.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use datafusion_sqllogictest::{DFColumnType, df_value_validator, value_normalizer};
use futures::FutureExt;
use sqllogictest::{
    ColumnType, Location, MakeConnection, QueryExpect, Record, RecordOutput, Runner, TestError, TestErrorKind,
    parse_file,
};

use crate::engine::{Database, Refusal};
use crate::workspace::TEST_FILES;

/// The label under which DataFusion's runner runs the records.
const LABEL: &str = "Datafusion";

/// Time beside the limit of a statement, which the sessions themselves keep.
const GRACE: Duration = Duration::from_secs(5);

/// A record of a test file: a statement or a query.
pub(crate) struct Tested {
    /// The file, or the part that it includes, and the line.
    pub(crate) place: String,
    pub(crate) sql: String,
    pub(crate) outcome: Outcome,
}

/// What became of a record.
pub(crate) enum Outcome {
    /// The answer was as the file expects it.
    Passed,
    /// The record is for other engines.
    Skipped,
    /// The answer was another.
    Failed(Failure),
}

/// An answer that differs from the expected one.
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// What differs.
    pub(crate) message: String,
}

/// How an answer differs from the expected one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailureKind {
    /// An error instead of rows.
    Error,
    /// Other rows.
    OtherRows,
    /// The same rows as other types.
    OtherTypes,
    /// Rows instead of an error.
    Answer,
    /// An error with another text.
    OtherText,
}

/// Runs the records of a file. `file` is relative to the folder of the test files.
pub(crate) async fn run(file: &Path, database: Database, limit: Duration) -> Result<Vec<Tested>> {
    let path = Path::new(TEST_FILES).join(file);
    let records: Vec<Record<DFColumnType>> = parse_file(&path).map_err(|error| anyhow!("{error}"))?;
    let mut database = Some(database);
    let connect = move || std::future::ready(database.take().ok_or_else(|| Refusal::broken("a second connection")));
    let mut runner = Runner::new(connect);
    runner.add_label(LABEL);
    runner.with_normalizer(value_normalizer);
    runner.with_validator(df_value_validator);
    // The rows are compared even if their types differ, since other rows weigh more.
    runner.with_column_validator(|actual, expected| actual.len() == expected.len());
    let mut tested = Vec::new();
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        let described = describe(&record);
        let types = expected_types(&record);
        let outcome = outcome_of(&mut runner, record, types.as_deref(), limit).await;
        if let Some((place, sql)) = described {
            tested.push(Tested { place, sql, outcome });
        }
    }
    Box::pin(runner.shutdown_async()).await;
    Ok(tested)
}

/// The place and the text of a record that runs SQL.
fn describe(record: &Record<DFColumnType>) -> Option<(String, String)> {
    let (Record::Statement { loc, sql, .. } | Record::Query { loc, sql, .. }) = record else { return None };
    Some((place(loc), sql.clone()))
}

fn place(location: &Location) -> String {
    let file = location.file();
    let file = file.strip_prefix(TEST_FILES).unwrap_or(file).trim_start_matches('/');
    format!("{file}:{}", location.line())
}

fn expected_types(record: &Record<DFColumnType>) -> Option<Vec<DFColumnType>> {
    match record {
        Record::Query { expected: QueryExpect::Results { types, .. }, .. } => Some(types.clone()),
        _ => None,
    }
}

async fn outcome_of(
    runner: &mut Runner<Database, impl MakeConnection<Conn = Database>>,
    record: Record<DFColumnType>,
    types: Option<&[DFColumnType]>,
    limit: Duration,
) -> Outcome {
    let run = Box::pin(AssertUnwindSafe(runner.run_async(record)).catch_unwind());
    let failed = |message: String| Outcome::Failed(Failure { kind: FailureKind::Error, message });
    match tokio::time::timeout(limit + GRACE, run).await {
        Err(_) => failed(Refusal::late(limit + GRACE).to_string()),
        Ok(Err(_)) => failed("a panic; see its message above".to_owned()),
        Ok(Ok(Err(error))) => Outcome::Failed(failure(&error)),
        Ok(Ok(Ok(RecordOutput::Nothing))) => Outcome::Skipped,
        Ok(Ok(Ok(RecordOutput::Query { types: actual, .. }))) => match types {
            Some(expected) if actual != expected => {
                let message = format!("column types {} instead of {}", letters(&actual), letters(expected));
                Outcome::Failed(Failure { kind: FailureKind::OtherTypes, message })
            }
            _ => Outcome::Passed,
        },
        Ok(Ok(Ok(_))) => Outcome::Passed,
    }
}

fn letters(types: &[DFColumnType]) -> String {
    types.iter().map(ColumnType::to_char).collect()
}

fn failure(error: &TestError) -> Failure {
    let (kind, message) = match error.kind() {
        TestErrorKind::QueryResultMismatch { expected, actual, .. } => {
            (FailureKind::OtherRows, difference(&expected, &actual))
        }
        TestErrorKind::QueryResultColumnsMismatch { expected, actual, .. } => {
            (FailureKind::OtherRows, format!("column types {actual} instead of {expected}"))
        }
        TestErrorKind::StatementResultMismatch { expected, actual, .. } => {
            (FailureKind::OtherRows, format!("{actual} instead of {expected}"))
        }
        TestErrorKind::Ok { .. } => (FailureKind::Answer, "rows instead of an error".to_owned()),
        TestErrorKind::ErrorMismatch { err, expected_err, .. } => {
            (FailureKind::OtherText, format!("{err} instead of {expected_err}"))
        }
        TestErrorKind::Fail { err, .. } => (FailureKind::Error, err.to_string()),
        other => (FailureKind::Error, other.to_string()),
    };
    Failure { kind, message }
}

/// The first line in which two texts differ.
fn difference(expected: &str, actual: &str) -> String {
    let (mut expected, mut actual) = (expected.lines().map(str::trim_end), actual.lines().map(str::trim_end));
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return "rows differ in whitespace".to_owned(),
            (Some(expected), Some(actual)) if expected == actual => {}
            (expected, actual) => {
                let quoted = |line: Option<&str>| line.map_or_else(|| "no row".to_owned(), |line| format!("'{line}'"));
                return format!("{} instead of {}", quoted(actual), quoted(expected));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_first_line_that_differs() {
        assert_eq!(difference("1 a\n2 b", "1 a\n3 b"), "'3 b' instead of '2 b'");
        assert_eq!(difference("1\n2", "1"), "no row instead of '2'");
        assert_eq!(difference("", "1"), "'1' instead of no row");
        assert_eq!(difference("1 ", "1"), "rows differ in whitespace");
    }

    #[test]
    fn a_place_is_the_file_below_the_test_files_and_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.slt");
        std::fs::write(&path, "statement ok\nSELECT 1\n").unwrap();
        let records: Vec<Record<DFColumnType>> = parse_file(&path).unwrap();
        let described = records.iter().find_map(describe).unwrap();
        assert!(described.0.ends_with("one.slt:1"), "{}", described.0);
        assert_eq!(described.1, "SELECT 1");
    }
}
