//! The statements that Tusk adds to SQL.
//!
//! ```text
//! CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name [USING architecture] [OPTIONS (key = value, ...)]
//!     TRAIN ON { table | (query) } [VALIDATE ON { table | (query) }]
//! CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name USING ensemble OPTIONS (members = 'a, b, ...')
//!     [VALIDATE ON { table | (query) }]
//! EXPLAIN CREATE MODEL ...
//! EVALUATE MODEL name ON { table | (query) } [OPTIONS (key = value, ...)]
//! SHOW MODELS
//! SHOW TRAINING name
//! SHOW TRIALS name
//! DESCRIBE MODEL name [CARD]
//! CANCEL TRAINING name
//! DROP MODEL [IF EXISTS] name
//! ```
//!
//! The value of an option that is searched for is `range(low, high)` or `candidates(a, b, ...)`.
//!
//! Everything else is DataFusion's.

mod ast;
mod chains;
mod parser;
mod tokens;

pub use ast::{CreateModel, EvaluateModel, ModelStatement, Source};
pub use parser::{Statement, one_statement, parse};
