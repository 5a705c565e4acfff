//! Refuses transactions. Every statement takes effect when it ends, and cannot be taken back: a model is published for all
//! sessions, and a table is files.

use bytes::Bytes;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use tonic::Status;

use crate::statements::Statement;
use crate::status::NO_TRANSACTIONS;

/// Returns an error if a statement is about transactions.
pub(super) fn refuse_statement(statement: &Statement) -> Result<(), Status> {
    let Statement::DataFusion(statement) = statement else { return Ok(()) };
    let DataFusionStatement::Statement(statement) = statement.as_ref() else { return Ok(()) };
    match statement.as_ref() {
        SqlStatement::StartTransaction { .. }
        | SqlStatement::Commit { .. }
        | SqlStatement::Rollback { .. }
        | SqlStatement::Savepoint { .. }
        | SqlStatement::ReleaseSavepoint { .. } => Err(no_transactions()),
        _ => Ok(()),
    }
}

/// Returns an error if a request belongs to a transaction.
pub(super) fn refuse_request(transaction: Option<&Bytes>) -> Result<(), Status> {
    if transaction.is_some_and(|id| !id.is_empty()) { Err(no_transactions()) } else { Ok(()) }
}

/// The error of every request about transactions.
pub(super) fn no_transactions() -> Status {
    NO_TRANSACTIONS.status(
        "there are no transactions: every statement takes effect at its end, and cannot be rolled back. Leave out BEGIN, \
         COMMIT and ROLLBACK, or connect with autocommit",
    )
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::statements::one_statement;

    #[test]
    fn transactions_are_refused_and_other_statements_are_not() {
        for sql in ["BEGIN", "START TRANSACTION", "COMMIT", "END", "ROLLBACK", "SAVEPOINT s", "RELEASE SAVEPOINT s"] {
            let status = refuse_statement(&one_statement(sql).unwrap()).unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{sql}");
        }
        for sql in ["SELECT 1", "SHOW MODELS", "SET datafusion.execution.batch_size = 1"] {
            refuse_statement(&one_statement(sql).unwrap()).unwrap();
        }
        assert!(refuse_request(Some(&Bytes::from_static(b"t"))).is_err());
        refuse_request(Some(&Bytes::new())).unwrap();
    }
}
