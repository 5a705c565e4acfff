//! A wrapper on DataFusion's parser: it recognises statements about models and hands everything else on.
//!
//! MODEL and TRAIN are no keywords of sqlparser, so words are compared as text, ignoring case.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement as DfStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use super::ast::{CreateModel, EvaluateModel, ModelStatement, Source};
use super::chains::check_chains;
use super::tokens::tokens;
use crate::error::{Error, Result};
use crate::ids::ModelName;
use crate::options::OptionValue;

/// One statement of a script.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Ours.
    Model(ModelStatement),
    /// DataFusion's.
    DataFusion(Box<DfStatement>),
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Model(statement) => write!(f, "{statement}"),
            Self::DataFusion(statement) => write!(f, "{statement}"),
        }
    }
}

/// The statements of a script, separated by semicolons.
///
/// # Errors
/// [`Error::Syntax`] with line, column, and what was expected; [`Error::InvalidModelName`].
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    let tokens = tokens(sql).map_err(|e| syntax_of(&e))?;
    check_chains(&tokens)?;
    let dialect = GenericDialect {};
    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect).build().map_err(|e| syntax_of(&e))?;
    let mut parser = ModelParser { parser, end: end_of(sql) };
    let mut statements = Vec::new();
    loop {
        while parser.parser.parser.consume_token(&Token::SemiColon) {}
        if parser.peek(0).token == Token::EOF {
            return Ok(statements);
        }
        statements.push(parser.statement()?);
        let next = parser.peek(0);
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            return Err(parser.expected("';' or the end of the statement", &next));
        }
    }
}

/// The only statement of a text.
///
/// # Errors
/// As [`parse`]; [`Error::Syntax`] when there is not exactly one.
pub fn one_statement(sql: &str) -> Result<Statement> {
    let mut statements = parse(sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (found, _) => Err(Error::Syntax {
            message: format!("expected one statement, found {}", statements.len() + usize::from(found.is_some())),
            line: 1,
            column: 1,
        }),
    }
}

struct ModelParser<'a> {
    parser: DFParser<'a>,
    /// Where the text ends: the end has no position of its own.
    end: Location,
}

impl ModelParser<'_> {
    fn statement(&mut self) -> Result<Statement> {
        let ours = if self.at(0, "CREATE") && (self.at(1, "MODEL") || (self.at(1, "OR") && self.at(3, "MODEL"))) {
            Some(self.create(false)?)
        } else if self.at(0, "EXPLAIN") && self.at(1, "CREATE") && (self.at(2, "MODEL") || self.at(4, "MODEL")) {
            self.word("EXPLAIN")?;
            Some(self.create(true)?)
        } else if self.at(0, "EVALUATE") {
            Some(self.evaluate()?)
        } else if self.at(0, "SHOW") && self.at(1, "MODELS") {
            self.words(&["SHOW", "MODELS"])?;
            Some(ModelStatement::ShowModels)
        } else if self.at(0, "SHOW") && self.at(1, "TRAINING") {
            self.words(&["SHOW", "TRAINING"])?;
            Some(ModelStatement::ShowTraining(self.model_name()?))
        } else if self.at(0, "SHOW") && self.at(1, "TRIALS") {
            self.words(&["SHOW", "TRIALS"])?;
            Some(ModelStatement::ShowTrials(self.model_name()?))
        } else if (self.at(0, "DESCRIBE") || self.at(0, "DESC")) && self.at(1, "MODEL") {
            self.parser.parser.next_token();
            self.word("MODEL")?;
            let name = self.model_name()?;
            Some(ModelStatement::Describe { name, card: self.optional(&["CARD"])? })
        } else if self.at(0, "CANCEL") {
            self.words(&["CANCEL", "TRAINING"])?;
            Some(ModelStatement::CancelTraining(self.model_name()?))
        } else if self.at(0, "DROP") && self.at(1, "MODEL") {
            self.words(&["DROP", "MODEL"])?;
            let if_exists = self.optional(&["IF", "EXISTS"])?;
            Some(ModelStatement::Drop { if_exists, name: self.model_name()? })
        } else {
            None
        };
        match ours {
            Some(statement) => Ok(Statement::Model(statement)),
            None => {
                self.parser.parse_statement().map(|s| Statement::DataFusion(Box::new(s))).map_err(|e| syntax_of(&e))
            }
        }
    }

    fn create(&mut self, explain: bool) -> Result<ModelStatement> {
        self.word("CREATE")?;
        let or_replace = self.optional(&["OR", "REPLACE"])?;
        self.word("MODEL")?;
        let if_not_exists = self.optional(&["IF", "NOT", "EXISTS"])?;
        let name = self.model_name()?;
        let architecture = if self.optional(&["USING"])? { Some(self.name("an architecture")?) } else { None };
        let options = self.options()?;
        // Its models are trained already.
        let is_ensemble = architecture.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("ensemble"));
        if !is_ensemble && !self.at(0, "TRAIN") {
            let before = match (&architecture, options.is_empty()) {
                (None, true) => "USING, OPTIONS or TRAIN ON",
                (Some(_), true) => "OPTIONS or TRAIN ON",
                _ => "TRAIN ON",
            };
            return Err(self.expected(before, &self.peek(0)));
        }
        let train_on = if self.optional(&["TRAIN", "ON"])? { Some(self.source()?) } else { None };
        let validate_on = if self.optional(&["VALIDATE", "ON"])? { Some(self.source()?) } else { None };
        let create = CreateModel { or_replace, if_not_exists, name, architecture, options, train_on, validate_on };
        Ok(ModelStatement::Create { explain, create })
    }

    fn evaluate(&mut self) -> Result<ModelStatement> {
        self.words(&["EVALUATE", "MODEL"])?;
        let name = self.model_name()?;
        self.word("ON")?;
        let on = self.source()?;
        let options = self.options()?;
        Ok(ModelStatement::Evaluate(EvaluateModel { name, on, options }))
    }

    fn source(&mut self) -> Result<Source> {
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
            _ => Err(self.expected("a table or (query)", &self.peek(0))),
        }
    }

    fn options(&mut self) -> Result<Vec<(String, OptionValue)>> {
        let mut options = Vec::new();
        if !self.optional(&["OPTIONS"])? {
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
        if is_call && self.optional(&["range"])? {
            let bounds = self.arguments()?;
            return match bounds.as_slice() {
                [OptionValue::Number(low), OptionValue::Number(high)] => {
                    Ok(OptionValue::Range(low.clone(), high.clone()))
                }
                _ => Err(self.expected("two numbers in range(low, high) before this", &self.peek(0))),
            };
        }
        if is_call && self.optional(&["candidates"])? {
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
            _ => Err(self.expected("a number, 'text', true or false", &next)),
        }
    }

    fn model_name(&mut self) -> Result<ModelName> {
        self.name("a model's name").and_then(ModelName::new)
    }

    /// A name: a word (folded to lower case, as SQL does) or anything in quotes.
    fn name(&mut self, what: &str) -> Result<String> {
        let next = self.parser.parser.next_token();
        match &next.token {
            Token::Word(word) if word.quote_style.is_none() => Ok(word.value.to_lowercase()),
            Token::Word(word) => Ok(word.value.clone()),
            Token::SingleQuotedString(text) => Ok(text.clone()),
            _ => Err(self.expected(what, &next)),
        }
    }

    fn expected(&self, what: &str, found: &TokenWithSpan) -> Error {
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

    fn at(&self, ahead: usize, word: &str) -> bool {
        is_word(&self.peek(ahead), word)
    }

    fn word(&mut self, word: &str) -> Result<()> {
        let next = self.parser.parser.next_token();
        if is_word(&next, word) { Ok(()) } else { Err(self.expected(word, &next)) }
    }

    fn words(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|word| self.word(word))
    }

    /// The words, if the first of them comes next.
    fn optional(&mut self, words: &[&str]) -> Result<bool> {
        if !words.first().is_some_and(|word| self.at(0, word)) {
            return Ok(false);
        }
        self.words(words).map(|()| true)
    }

    fn token(&mut self, token: &Token, what: &str) -> Result<()> {
        if self.parser.parser.consume_token(token) { Ok(()) } else { Err(self.expected(what, &self.peek(0))) }
    }
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> ModelStatement {
        match parse(sql).unwrap().remove(0) {
            Statement::Model(statement) => statement,
            Statement::DataFusion(other) => panic!("handed on: {other}"),
        }
    }

    #[test]
    fn every_statement_prints_as_sql_that_parses_back() {
        for sql in [
            "CREATE MODEL m TRAIN ON t",
            "CREATE OR REPLACE MODEL m USING cnn TRAIN ON a.b.c VALIDATE ON (SELECT * FROM v WHERE x > 1)",
            "create model if not exists \"M-1\" using resnet18 options (\"group\" = 'patient', epochs = 3, \
             learning_rate = 1e-3, early_stop = false) train on (select * from t limit 10)",
            "EXPLAIN CREATE MODEL m TRAIN ON t",
            "EVALUATE MODEL m ON t OPTIONS (threshold = 0.3)",
            "SHOW MODELS",
            "CREATE MODEL m OPTIONS (learning_rate = range(1e-4, 0.01), augment = candidates('none', 'xray'), trials = 4) \
             TRAIN ON t",
            "CREATE MODEL e USING ensemble OPTIONS (members = 'a, b') VALIDATE ON t",
            "SHOW TRAINING m",
            "SHOW TRIALS m",
            "DESCRIBE MODEL m",
            "DESCRIBE MODEL card CARD",
            "CANCEL TRAINING m",
            "DROP MODEL IF EXISTS m",
        ] {
            let tree = one(sql);
            assert_eq!(one(&tree.to_string()), tree, "{sql}");
        }
    }

    #[test]
    fn a_script_mixes_both_kinds_of_statement() {
        let script = "SELECT ';'; CREATE MODEL m TRAIN ON t;; SHOW TABLES; DROP MODEL m";
        let kinds: Vec<bool> = parse(script).unwrap().iter().map(|s| matches!(s, Statement::Model(_))).collect();
        assert_eq!(kinds, [false, true, false, true]);
    }

    #[test]
    fn what_is_not_ours_is_left_to_datafusion() {
        for sql in
            ["CREATE TABLE model AS SELECT 1", "SHOW TABLES", "DESCRIBE t", "EXPLAIN SELECT 1", "DROP TABLE model"]
        {
            assert!(matches!(parse(sql).unwrap()[0], Statement::DataFusion(_)), "{sql}");
        }
    }

    #[test]
    fn a_syntax_error_says_line_column_and_what_was_expected() {
        for (sql, message) in [
            ("CREATE MODEL m\n  TRAIN FROM t", "syntax error: expected ON, found FROM at line 2, column 9"),
            (
                "CREATE MODEL m OPTIONS (epochs 3) TRAIN ON t",
                "syntax error: expected '=' after the option's name, found 3 at line 1, column 32",
            ),
            (
                "CREATE MODEL m",
                "syntax error: expected USING, OPTIONS or TRAIN ON, found the end of the statement at line 1, column 15",
            ),
            ("EVALUATE m ON t", "syntax error: expected MODEL, found m at line 1, column 10"),
            (
                "SHOW MODELS now",
                "syntax error: expected ';' or the end of the statement, found now at line 1, column 13",
            ),
        ] {
            assert_eq!(parse(sql).unwrap_err().to_string(), message);
        }
        let error = parse("SELECT *\nFORM t WHERE").unwrap_err().to_string();
        assert!(error.starts_with("syntax error: ") && error.contains("at line 2, column"), "{error}");
    }

    #[test]
    fn names_that_need_quotes_get_them() {
        for sql in [
            "CREATE MODEL \"if\" USING \"\" OPTIONS (\"a\"\"\"\"b\" = 'x''''y', 'k' = true, \"\" = -1e5) TRAIN ON t",
            "DROP MODEL \"if\"",
            "DROP MODEL IF EXISTS \"if\"",
            "CREATE MODEL m USING \"Ünet \"\"2\"\"\" TRAIN ON t",
        ] {
            let tree = one(sql);
            assert_eq!(one(&tree.to_string()), tree, "{sql}");
        }
    }
}
