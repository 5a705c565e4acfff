//! The statements that Tusk adds to SQL.
//!
//! ```text
//! CREATE [OR REPLACE] MODEL [IF NOT EXISTS] name [USING architecture] [OPTIONS (key = value, ...)]
//!     TRAIN ON { table | (query) } [VALIDATE ON { table | (query) }]
//! EXPLAIN CREATE MODEL ...
//! EVALUATE MODEL name ON { table | (query) } [OPTIONS (key = value, ...)]
//! SHOW MODELS
//! SHOW TRAINING name
//! DESCRIBE MODEL name
//! CANCEL TRAINING name
//! DROP MODEL [IF EXISTS] name
//! ```
//!
//! Everything else is DataFusion's.

mod ast;
mod chains;
mod parser;

pub use ast::{CreateModel, EvaluateModel, ModelStatement, Source};
pub use parser::{Statement, parse};
