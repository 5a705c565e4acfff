//! What the grammars of statements are written with: a wrapper on DataFusion's parser.
//!
//! MODEL and TRAIN are not keywords of sqlparser. Words are therefore compared as text, and case is ignored.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DataFusionStatement};
use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::limits::check_limits;
use super::tokens::{is_word, tokens};
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::options::OptionValue;

/// The rows of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A table or view.
    Table(ObjectName),
    /// A query.
    Query(Box<Query>),
}

/// The statements of a script, separated by semicolons. `statement` reads one of them.
///
/// # Errors
/// [`Error::Syntax`] with line, column, and what was expected; the errors of `statement`.
pub fn parse<S>(sql: &str, mut statement: impl FnMut(&mut Parser<'_>) -> Result<S>) -> Result<Vec<S>> {
    let tokens = tokens(sql).map_err(|e| syntax_of(&e))?;
    check_limits(&tokens)?;
    let dialect = GenericDialect {};
    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect).build().map_err(|e| syntax_of(&e))?;
    let mut parser = Parser { parser, end: end_of(sql) };
    let mut statements = Vec::new();
    loop {
        while parser.parser.parser.consume_token(&Token::SemiColon) {}
        if parser.peek(0).token == Token::EOF {
            return Ok(statements);
        }
        statements.push(statement(&mut parser)?);
        let next = parser.peek(0);
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            return Err(parser.expected_but("';' or the end of the statement", &next));
        }
    }
}

/// Reads a statement word by word.
pub struct Parser<'a> {
    parser: DFParser<'a>,
    /// Where the text ends. The end token has no position.
    end: Location,
}

impl std::fmt::Debug for Parser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").field("next", &self.peek(0)).finish_non_exhaustive()
    }
}

impl Parser<'_> {
    /// A statement of DataFusion.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn datafusion(&mut self) -> Result<DataFusionStatement> {
        self.parser.parse_statement().map_err(|e| syntax_of(&e))
    }

    /// Whether these words come next.
    #[must_use]
    pub fn begins(&self, words: &str) -> bool {
        words.split_whitespace().enumerate().all(|(ahead, word)| is_word(&self.peek(ahead), word))
    }

    /// Reads these words.
    ///
    /// # Errors
    /// [`Error::Syntax`] when other words come.
    pub fn words(&mut self, words: &str) -> Result<()> {
        words.split_whitespace().try_for_each(|word| {
            let next = self.parser.parser.next_token();
            if is_word(&next, word) { Ok(()) } else { Err(self.expected_but(word, &next)) }
        })
    }

    /// Skips a word, whatever it is.
    pub fn any_word(&mut self) {
        self.parser.parser.next_token();
    }

    /// Reads these words if the first of them comes next, and returns whether it does.
    ///
    /// # Errors
    /// [`Error::Syntax`] when only the first one comes.
    pub fn optional(&mut self, words: &str) -> Result<bool> {
        let first = words.split_whitespace().next().unwrap_or_default();
        if !self.begins(first) {
            return Ok(false);
        }
        self.words(words).map(|()| true)
    }

    /// A table, or a query in parentheses.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn source(&mut self) -> Result<Source> {
        let parser = &mut self.parser.parser;
        if parser.consume_token(&Token::LParen) {
            let query = parser.parse_query().map_err(|e| syntax_of_sqlparser(&e))?;
            self.token(&Token::RParen, "')' after the query")?;
            return Ok(Source::Query(query));
        }
        match self.peek(0).token {
            Token::Word(_) | Token::SingleQuotedString(_) => {
                self.parser.parser.parse_object_name(false).map(Source::Table).map_err(|e| syntax_of_sqlparser(&e))
            }
            _ => Err(self.expected("a table or (query)")),
        }
    }

    /// `OPTIONS (key = value, ...)`, or nothing.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn options(&mut self) -> Result<Vec<(String, OptionValue)>> {
        let mut options = Vec::new();
        if !self.optional("OPTIONS")? {
            return Ok(options);
        }
        self.token(&Token::LParen, "'(' after OPTIONS")?;
        while !self.parser.parser.consume_token(&Token::RParen) {
            if !options.is_empty() {
                self.token(&Token::Comma, "',' or ')' after an option")?;
            }
            let key = self.name("an option's name")?;
            self.token(&Token::Eq, "'=' after the option's name")?;
            options.push((key, self.value()?));
        }
        Ok(options)
    }

    fn value(&mut self) -> Result<OptionValue> {
        let is_call = self.peek(1).token == Token::LParen;
        if is_call && self.optional("range")? {
            let bounds = self.arguments()?;
            return match bounds.as_slice() {
                [OptionValue::Number(low), OptionValue::Number(high)] => {
                    Ok(OptionValue::Range(low.clone(), high.clone()))
                }
                _ => Err(self.expected("two numbers in range(low, high) before this")),
            };
        }
        if is_call && self.optional("candidates")? {
            return Ok(OptionValue::Candidates(self.arguments()?));
        }
        self.literal()
    }

    /// Literals in parentheses.
    fn arguments(&mut self) -> Result<Vec<OptionValue>> {
        self.token(&Token::LParen, "'('")?;
        let mut values = vec![self.literal()?];
        while !self.parser.parser.consume_token(&Token::RParen) {
            self.token(&Token::Comma, "',' or ')' after a value")?;
            values.push(self.literal()?);
        }
        Ok(values)
    }

    fn literal(&mut self) -> Result<OptionValue> {
        let minus = self.parser.parser.consume_token(&Token::Minus);
        let next = self.parser.parser.next_token();
        match next.token.clone() {
            Token::Number(digits, _) => Ok(OptionValue::Number(format!("{}{digits}", if minus { "-" } else { "" }))),
            Token::SingleQuotedString(text) if !minus => Ok(OptionValue::Text(text)),
            Token::Word(word) if !minus && word.value.eq_ignore_ascii_case("true") => Ok(OptionValue::Bool(true)),
            Token::Word(word) if !minus && word.value.eq_ignore_ascii_case("false") => Ok(OptionValue::Bool(false)),
            Token::Word(word) if !minus => Ok(OptionValue::Text(word.value)),
            _ => Err(self.expected_but("a number, 'text', true or false", &next)),
        }
    }

    /// The name of a model.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::InvalidModelName`].
    pub fn model_name(&mut self) -> Result<ModelName> {
        self.name("a model's name").and_then(ModelName::new)
    }

    /// A name: a word, which becomes lower case as everywhere in SQL, or text in quotes. `what` is for the error.
    ///
    /// # Errors
    /// [`Error::Syntax`].
    pub fn name(&mut self, what: &str) -> Result<String> {
        let next = self.parser.parser.next_token();
        match &next.token {
            Token::Word(word) if word.quote_style.is_none() => Ok(word.value.to_lowercase()),
            Token::Word(word) => Ok(word.value.clone()),
            Token::SingleQuotedString(text) => Ok(text.clone()),
            _ => Err(self.expected_but(what, &next)),
        }
    }

    /// The error that `what` should come next.
    #[must_use]
    pub fn expected(&self, what: &str) -> Error {
        self.expected_but(what, &self.peek(0))
    }

    fn expected_but(&self, what: &str, found: &TokenWithSpan) -> Error {
        let (at, found) = match &found.token {
            Token::EOF => (self.end, "the end of the statement".to_owned()),
            token => (found.span.start, token.to_string()),
        };
        let message = format!("syntax error: expected {what}, found {found}");
        Error::Syntax { message, line: at.line, column: at.column }
    }

    fn peek(&self, ahead: usize) -> TokenWithSpan {
        self.parser.parser.peek_nth_token(ahead)
    }

    fn token(&mut self, token: &Token, what: &str) -> Result<()> {
        if self.parser.parser.consume_token(token) { Ok(()) } else { Err(self.expected(what)) }
    }
}

fn end_of(sql: &str) -> Location {
    let sql = sql.trim_end();
    let last_line = sql.lines().last().unwrap_or("");
    Location { line: sql.lines().count().max(1) as u64, column: last_line.chars().count() as u64 + 1 }
}

/// sqlparser writes its positions into its messages: take them out again.
fn syntax_of_message(message: &str) -> Error {
    let (text, position) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let (line, column) = position.split_once(", Column: ").unwrap_or(("0", "0"));
    let text = text.trim_start_matches("sql parser error: ");
    Error::Syntax {
        message: format!("syntax error: {text}"),
        line: line.trim().parse().unwrap_or(0),
        column: column.trim().trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0),
    }
}

fn syntax_of_sqlparser(error: &ParserError) -> Error {
    match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => syntax_of_message(message),
        ParserError::RecursionLimitExceeded => syntax_of_message("the statement is nested too deeply"),
    }
}

fn syntax_of(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SQL(parser_error, _) => syntax_of_sqlparser(parser_error),
        other => syntax_of_message(&other.strip_backtrace()),
    }
}
