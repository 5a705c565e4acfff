//! The kinds of errors. Their SQLSTATEs are those of PostgreSQL.

use tonic::Code;

use super::Kind;

/// Declares kinds: name, gRPC code, SQLSTATE, and what it means.
macro_rules! kinds {
    ($($name:ident: $code:ident, $sqlstate:literal, $meaning:literal;)*) => {
        $(
            pub(crate) const $name: Kind = Kind {
                code: Code::$code,
                sqlstate: $sqlstate,
                reason: stringify!($name),
                meaning: $meaning,
            };
        )*

        /// All kinds, in the order of the manual.
        #[cfg(test)]
        pub(super) const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    SYNTAX: InvalidArgument, "42601", "the statement cannot be parsed";
    PLAN: InvalidArgument, "42000", "the statement cannot be planned, for a reason that is not below";
    UNDEFINED_TABLE: NotFound, "42P01", "there is no such table";
    UNDEFINED_SCHEMA: NotFound, "3F000", "there is no such schema";
    UNDEFINED_CATALOG: NotFound, "3D000", "there is no such catalog";
    UNDEFINED_COLUMN: InvalidArgument, "42703", "there is no such column";
    AMBIGUOUS_COLUMN: InvalidArgument, "42702", "several columns have this name";
    UNDEFINED_FUNCTION: InvalidArgument, "42883", "there is no such function";
    UNDEFINED_MODEL: NotFound, "42704", "there is no such model or run";
    UNDEFINED_FILE: NotFound, "58P01", "there is no such file";
    DUPLICATE_TABLE: AlreadyExists, "42P07", "the table exists";
    DUPLICATE_MODEL: AlreadyExists, "42710", "the model exists";
    IN_USE: AlreadyExists, "55006", "the model is being trained";
    INVALID_VALUE: InvalidArgument, "22023", "an option or a setting has a value that it does not take";
    INVALID_NAME: InvalidArgument, "42602", "a model cannot have this name";
    DIVISION_BY_ZERO: OutOfRange, "22012", "a division by zero";
    OUT_OF_RANGE: OutOfRange, "22003", "a number does not fit its type";
    INVALID_TEXT: InvalidArgument, "22P02", "a value cannot be converted to another type";
    DATA: InvalidArgument, "22000", "the rows do not fit the statement";
    NOT_IMPLEMENTED: InvalidArgument, "0A000", "DataFusion does not do this";
    NO_TRANSACTIONS: Unimplemented, "0A000", "there are no transactions";
    NO_RIGHT: PermissionDenied, "42501", "the user has no right to do this";
    UNAUTHENTICATED: Unauthenticated, "28000", "the client is not logged in";
    NO_PREPARED_STATEMENT: NotFound, "26000", "the prepared statement was closed or dropped";
    NO_RESULT: NotFound, "34000", "the rows of the statement were fetched or dropped";
    NO_SESSION: NotFound, "08003", "the session was closed";
    TOO_MANY_SESSIONS: ResourceExhausted, "53300", "too many sessions are open";
    DISK_FULL: ResourceExhausted, "53100", "the disk is full, or the disk space for queries is used up";
    OUT_OF_MEMORY: ResourceExhausted, "53200", "the memory for queries is used up";
    TOO_LARGE: ResourceExhausted, "54000", "a row, or the values of parameters, are larger than the limit";
    WRONG_STATE: FailedPrecondition, "55000", "the run cannot be resumed, or the statement runs elsewhere";
    CANCELLED: Cancelled, "57014", "the run or the statement was cancelled";
    UNAVAILABLE: Unavailable, "58030", "a file, a store or an executor cannot be reached now";
    PROTOCOL: InvalidArgument, "08P01", "a message cannot be read";
    DAMAGED: DataLoss, "XX001", "a file of the model store is damaged";
    INTERNAL: Internal, "XX000", "another error, perhaps a bug";
}
