//! From text to the tokens that the parser takes.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// The tokens of a script. Where EXPLAIN begins no statement and a bracket follows, it is our function, and gets the quotes
/// without which sqlparser would end a list before it: `SELECT path, explain('m', image)`.
pub(super) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, DataFusionError> {
    let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(ParserError::from)?;
    let mut begins = true;
    for place in 0..tokens.len() {
        if matches!(tokens[place].token, Token::Whitespace(_)) {
            continue;
        }
        let mut after = tokens[place + 1..].iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let is_call = after.next().is_some_and(|next| next.token == Token::LParen);
        if !begins && is_call && is_word(&tokens[place], "EXPLAIN") {
            tokens[place].token = Token::make_word("explain", Some('"'));
        }
        begins = tokens[place].token == Token::SemiColon;
    }
    Ok(tokens)
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    fn parse(sql: &str) -> crate::error::Result<Vec<String>> {
        crate::sql::parse(sql, |parser| parser.datafusion().map(|statement| statement.to_string()))
    }

    #[test]
    fn explain_is_a_function_inside_a_statement_and_a_statement_at_its_start() {
        for (sql, expected) in [
            ("SELECT path, explain('m', image) FROM t", "SELECT path, \"explain\"('m', image) FROM t"),
            ("SELECT EXPLAIN ('m', image) AS heat", "SELECT \"explain\"('m', image) AS heat"),
            ("EXPLAIN SELECT 1", "EXPLAIN SELECT 1"),
        ] {
            assert_eq!(parse(sql).unwrap(), [expected]);
        }
        let script = parse("SELECT 1; EXPLAIN SELECT explain('m', i) FROM t; SELECT 'explain('").unwrap();
        assert_eq!(script.len(), 3);
    }
}
