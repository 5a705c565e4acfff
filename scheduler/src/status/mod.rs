//! The gRPC status of an error, and its SQLSTATE.
//!
//! A status has the message of the error, the gRPC code of its kind, and the SQLSTATE twice: as the header `sqlstate`, and as
//! the detail `google.rpc.ErrorInfo`, which drivers also receive with an error between rows. docs/cluster.md lists the kinds.

mod kinds;

use std::collections::HashMap;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tusk_core::cause::CauseKind;

use crate::error::Error;
pub(crate) use kinds::*;

/// The longest message in bytes. A status is sent as headers, in which a byte can take three, and a second time in its
/// details. Clients refuse headers above 16 KiB.
const MESSAGE_BYTES_MAX: usize = 3000;

/// The domain of the reasons in details.
const DOMAIN: &str = "tusk";

/// A kind of error, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    code: Code,
    sqlstate: &'static str,
    /// Its name in details.
    reason: &'static str,
    /// What it means, for the manual.
    meaning: &'static str,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcDetail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct RpcDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

impl Kind {
    /// Returns a status of this kind. A long message is cut.
    pub(crate) fn status(self, message: impl Into<String>) -> Status {
        let message = shortened(message.into());
        let info = ErrorInfo {
            reason: self.reason.to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: HashMap::from([("sqlstate".to_owned(), self.sqlstate.to_owned())]),
        };
        let detail =
            RpcDetail { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: info.encode_to_vec() };
        let details = RpcStatus { code: self.code as i32, message: message.clone(), details: vec![detail] };
        let mut headers = MetadataMap::new();
        headers.insert("sqlstate", MetadataValue::from_static(self.sqlstate));
        Status::with_details_and_metadata(self.code, message, details.encode_to_vec().into(), headers)
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push_str("...");
    }
    message
}

/// Converts an error to a status with the same message.
#[expect(clippy::needless_pass_by_value, reason = "the error is not used afterwards")]
pub(crate) fn status_of(error: Error) -> Status {
    kind_of(&error).status(error.to_string())
}

fn kind_of(error: &Error) -> Kind {
    match error {
        Error::Cancelled { .. } | Error::AdaptingCancelled { .. } => CANCELLED,
        Error::CannotResume { .. } | Error::NotHere { .. } => WRONG_STATE,
        Error::AlreadyTraining { .. } => IN_USE,
        Error::TargetExists { .. } => DUPLICATE_MODEL,
        Error::NoTraining { .. } => UNDEFINED_MODEL,
        Error::Core(error) => kind_of_core(error),
        other => kind_of_text(&other.to_string(), other.kind()),
    }
}

fn kind_of_core(error: &tusk_core::Error) -> Kind {
    use tusk_core::Error as Core;
    match error {
        Core::Syntax { .. } => SYNTAX,
        Core::UnknownOption { .. }
        | Core::InvalidOption { .. }
        | Core::ConflictingOptions { .. }
        | Core::InvalidStore { .. } => INVALID_VALUE,
        Core::InvalidModelName { .. } => INVALID_NAME,
        Core::ModelNotFound { .. } => UNDEFINED_MODEL,
        Core::ModelExists { .. } => DUPLICATE_MODEL,
        Core::Damaged { .. } => DAMAGED,
        Core::Wire { .. } => PROTOCOL,
        other => kind_of_text(&other.to_string(), other.kind()),
    }
}

/// Words of the messages of DataFusion, Arrow and the system, and the kinds that they tell. An error has no type any more
/// when it has passed through the processes of a cluster.
const WORDS: &[(&[&str], Kind)] = &[
    (&["No space left on device"], DISK_FULL),
    (&["Disk quota exceeded"], DISK_FULL),
    (&["--spill-limit-bytes"], DISK_FULL),
    (&["Divide by zero"], DIVISION_BY_ZERO),
    (&["Arithmetic overflow"], OUT_OF_RANGE),
    (&["Overflow happened on"], OUT_OF_RANGE),
    (&["Can't cast value", "to type"], OUT_OF_RANGE),
    (&["Cannot cast string"], INVALID_TEXT),
    (&["Parser error: "], INVALID_TEXT),
    (&["Cast error: "], INVALID_TEXT),
    (&["table '", "' not found"], UNDEFINED_TABLE),
    (&["No table named '"], UNDEFINED_TABLE),
    (&["failed to resolve schema: "], UNDEFINED_SCHEMA),
    (&["failed to resolve catalog: "], UNDEFINED_CATALOG),
    (&["table '", "' exists"], DUPLICATE_TABLE),
    (&["able '", "' already exists"], DUPLICATE_TABLE),
    (&["No field named "], UNDEFINED_COLUMN),
    (&["column '", "' not found"], UNDEFINED_COLUMN),
    (&["Ambiguous reference to unqualified field"], AMBIGUOUS_COLUMN),
    (&["Invalid function '"], UNDEFINED_FUNCTION),
    (&["This feature is not implemented"], NOT_IMPLEMENTED),
    (&["Not yet implemented"], NOT_IMPLEMENTED),
    (&["SQL error: "], SYNTAX),
    (&["Resources exhausted"], OUT_OF_MEMORY),
    (&["Error during planning: "], PLAN),
];

/// Returns the kind that a message tells, or else one for the kind of its cause.
fn kind_of_text(message: &str, cause: CauseKind) -> Kind {
    let told = WORDS.iter().find(|(words, _)| words.iter().all(|word| message.contains(word)));
    told.map_or_else(
        || match cause {
            CauseKind::Invalid => DATA,
            CauseKind::NotFound => UNDEFINED_FILE,
            CauseKind::Exists => DUPLICATE_MODEL,
            CauseKind::Exhausted => OUT_OF_MEMORY,
            CauseKind::Unavailable => UNAVAILABLE,
            _ => INTERNAL,
        },
        |(_, kind)| *kind,
    )
}

#[cfg(test)]
mod tests {
    use datafusion::error::DataFusionError;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// Runs a statement to its end and returns the kind of its error.
    async fn kind_of_statement(context: &SessionContext, sql: &str) -> Kind {
        let result = match context.sql(sql).await {
            Ok(frame) => frame.collect().await.map(drop),
            Err(error) => Err(error),
        };
        kind_of(&result.unwrap_err().into())
    }

    #[tokio::test]
    async fn the_kinds_of_errors_are_told_from_datafusions_messages() {
        let context = SessionContext::new();
        context.sql("CREATE TABLE t (a INT, b VARCHAR) AS VALUES (0, 'x')").await.unwrap().collect().await.unwrap();
        for (sql, expected) in [
            ("SELEKT 1", SYNTAX),
            ("SELECT * FROM nowhere", UNDEFINED_TABLE),
            ("SELECT * FROM nowhere.t", UNDEFINED_TABLE),
            ("SELECT c FROM t", UNDEFINED_COLUMN),
            ("SELECT a FROM t x JOIN t y ON x.a = y.a", AMBIGUOUS_COLUMN),
            ("SELECT nothing(a) FROM t", UNDEFINED_FUNCTION),
            ("SELECT 1 / a FROM t", DIVISION_BY_ZERO),
            ("SELECT 9223372036854775807 + b FROM (SELECT 1 AS b FROM t)", OUT_OF_RANGE),
            ("SELECT CAST(b AS INT) FROM t", INVALID_TEXT),
            ("CREATE TABLE t AS SELECT 1", DUPLICATE_TABLE),
            ("SELECT a FROM t GROUP BY b", PLAN),
        ] {
            assert_eq!(kind_of_statement(&context, sql).await, expected, "{sql}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures_of_the_disk() {
        let os_error = |code| DataFusionError::from(std::io::Error::from_raw_os_error(code));
        assert_eq!(kind_of(&os_error(28).into()), DISK_FULL);
        assert_eq!(kind_of(&os_error(5).into()), UNAVAILABLE);
        let lost =
            Error::Lost { phase: "train".to_owned(), reason: "No space left on device (os error 28)".to_owned() };
        assert_eq!(kind_of(&lost), DISK_FULL);
    }

    #[test]
    fn a_status_has_its_sqlstate_in_a_header_and_in_its_details() {
        let status = status_of(tusk_core::Error::Data { message: "no rows".to_owned() }.into());
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no rows"));
        assert_eq!(status.metadata().get("sqlstate").unwrap(), "22000");
        let details = RpcStatus::decode(status.details()).unwrap();
        assert_eq!((details.code, details.message.as_str()), (Code::InvalidArgument as i32, "no rows"));
        let info = ErrorInfo::decode(details.details[0].value.as_slice()).unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["sqlstate"].as_str()), ("DATA", "22000"));
    }

    #[test]
    fn a_long_message_is_cut_so_that_it_fits_into_headers() {
        let status = PLAN.status("é".repeat(100_000));
        assert!(status.message().ends_with("é..."));
        let mut headers = axum::http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 16 << 10, "{bytes}");
    }

    #[test]
    fn the_manual_lists_every_kind() {
        let manual = include_str!("../../../docs/cluster.md");
        for Kind { code, sqlstate, meaning, .. } in ALL {
            let row = format!("| `{sqlstate}` | `{code:?}` | {meaning} |");
            assert!(manual.contains(&row), "docs/cluster.md lacks the row {row}");
        }
    }
}
