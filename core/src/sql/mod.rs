//! The parser of Tusk's SQL: statements about models beside those of DataFusion.
//!
//! The grammar of each statement is beside its execution, in the scheduler's `statements`. This module has what they are
//! written with: words, names, tables and queries, options. The value of an option that is searched for is
//! `range(low, high)` or `candidates(a, b, ...)`.

mod limits;
mod parser;
mod tokens;

pub use parser::{Parser, Source, parse};
