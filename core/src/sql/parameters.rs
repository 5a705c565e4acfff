//! The parameters of a statement: `?`, `$1` or `$name`.
//!
//! DataFusion knows `$1` and `$name`. A `?` becomes the next number, as in the drivers that write it.

use std::collections::HashSet;

use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::parser::syntax_of;
use super::tokens::tokens;
use crate::error::{Error, Result};

/// The maximum number of parameters of a statement, as in PostgreSQL's protocol.
pub const PARAMETERS_MAX: usize = 65_535;

/// The parameters of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// `$1` to `$n`. There are none if `n` is 0.
    Numbered(usize),
    /// Names without `$`, in the order in which they first appear.
    Named(Vec<String>),
}

impl Parameters {
    /// Returns the parameters of a text with one statement.
    ///
    /// # Errors
    /// [`Error::Syntax`] if the text has no tokens of SQL, if it has both `?` and `$1`, or numbers and names, or if
    /// there are more than [`PARAMETERS_MAX`] parameters.
    pub fn of(sql: &str) -> Result<Self> {
        let mut tokens = tokens(sql).map_err(|e| syntax_of(&e))?;
        number(&mut tokens)?;
        let (mut count, mut names, mut known) = (0, Vec::new(), HashSet::new());
        for (name, at) in placeholders(&tokens) {
            match name.parse::<usize>() {
                Ok(0) => return Err(syntax("parameters are numbered from $1", at)),
                Ok(number) => count = number.max(count),
                Err(_) if known.insert(name) => names.push(name.to_owned()),
                Err(_) => {}
            }
            if count.max(names.len()) > PARAMETERS_MAX {
                return Err(syntax(&format!("a statement has at most {PARAMETERS_MAX} parameters"), at));
            }
            if count > 0 && !names.is_empty() {
                return Err(syntax("parameters have numbers, as in $1, or names, as in $label, but not both", at));
            }
        }
        Ok(if names.is_empty() { Self::Numbered(count) } else { Self::Named(names) })
    }

    /// The number of values that they take.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Numbered(count) => *count,
            Self::Named(names) => names.len(),
        }
    }

    /// The names, with `$`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Numbered(count) => (1..=*count).map(|number| format!("${number}")).collect(),
            Self::Named(names) => names.iter().map(|name| format!("${name}")).collect(),
        }
    }
}

/// Gives each `?` of a statement the next number, from `$1`.
pub(super) fn number(tokens: &mut [TokenWithSpan]) -> Result<()> {
    let (mut questions, mut has_others) = (0, false);
    for token in tokens {
        match &token.token {
            Token::SemiColon => (questions, has_others) = (0, false),
            Token::Placeholder(text) if text == "?" => {
                questions += 1;
                token.token = Token::Placeholder(format!("${questions}"));
            }
            Token::Placeholder(_) => has_others = true,
            _ => continue,
        }
        if has_others && questions > 0 {
            return Err(syntax("parameters are written ? or $1, but not both in one statement", token.span.start));
        }
    }
    Ok(())
}

/// Returns the parameters in the text, without `$`.
fn placeholders(tokens: &[TokenWithSpan]) -> impl Iterator<Item = (&str, Location)> {
    tokens.iter().filter_map(|token| match &token.token {
        Token::Placeholder(text) => Some((text.trim_start_matches(['$', '?']), token.span.start)),
        _ => None,
    })
}

fn syntax(message: &str, at: Location) -> Error {
    Error::Syntax { message: format!("syntax error: {message}"), line: at.line, column: at.column }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(sql: &str) -> Result<Vec<String>> {
        crate::sql::parse(sql, |parser| parser.datafusion().map(|statement| statement.to_string()))
    }

    #[test]
    fn question_marks_are_numbered_in_each_statement() {
        let script = parse("SELECT ?, a FROM t WHERE b IN (?, ?); SELECT '?', ?; SELECT 1").unwrap();
        assert_eq!(script, ["SELECT $1, a FROM t WHERE b IN ($2, $3)", "SELECT '?', $1", "SELECT 1"]);
        assert_eq!(Parameters::of("SELECT ? LIMIT ?").unwrap(), Parameters::Numbered(2));
    }

    #[test]
    fn parameters_have_numbers_or_names() {
        for (sql, expected) in [
            ("SELECT 1", Parameters::Numbered(0)),
            ("SELECT $2, $1, $2", Parameters::Numbered(2)),
            ("SELECT $$ $1 $$, '$2', \"$3\"", Parameters::Numbered(0)),
            ("SELECT $b, $a, $b", Parameters::Named(vec!["b".to_owned(), "a".to_owned()])),
        ] {
            assert_eq!(Parameters::of(sql).unwrap(), expected, "{sql}");
        }
        assert_eq!(Parameters::Numbered(2).names(), ["$1", "$2"]);
        assert_eq!(Parameters::of("SELECT $label").unwrap().names(), ["$label"]);
    }

    #[test]
    fn other_mixtures_and_numbers_are_refused_with_their_place() {
        for (sql, expected) in [
            ("SELECT ?, $1", "parameters are written ? or $1, but not both in one statement at line 1, column 11"),
            ("SELECT $1, $a", "numbers, as in $1, or names, as in $label, but not both at line 1, column 12"),
            ("SELECT $0", "parameters are numbered from $1 at line 1, column 8"),
            ("SELECT $70000", "a statement has at most 65535 parameters at line 1, column 8"),
        ] {
            let message = Parameters::of(sql).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{sql}: {message}");
        }
        assert!(parse("SELECT ?, $1").is_err());
    }
}
