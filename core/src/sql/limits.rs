//! How long a statement may be where length becomes depth.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens::is_word;
use crate::error::{Error, Result};

/// The most tokens between two commas. `1 + 1 + 1 ...` is read in a loop, but becomes a tree as deep as it is long, and
/// what walks or frees it calls itself: without a limit, a statement of a megabyte would overflow a thread's stack, which
/// no process survives. A list may be as long as it likes.
const CHAIN_TOKENS_MAX: usize = 8_000;

/// The most UNION, EXCEPT and INTERSECT on one level, for the same reason.
const SET_OPERATIONS_MAX: usize = 500;

/// Refuses statements whose tree would be too deep.
pub(super) fn check_limits(tokens: &[TokenWithSpan]) -> Result<()> {
    // Per open bracket: tokens since the last comma, and set operations.
    let mut levels = vec![(0, 0)];
    for token in tokens {
        let is_inside = levels.len() > 1;
        let Some((chain, set_operations)) = levels.last_mut() else { return Ok(()) };
        match &token.token {
            Token::Whitespace(_) => {}
            Token::Comma => *chain = 0,
            Token::SemiColon => levels = vec![(0, 0)],
            Token::RParen | Token::RBracket | Token::RBrace if is_inside => drop(levels.pop()),
            other => {
                *chain += 1;
                let is_set_operation = ["UNION", "EXCEPT", "INTERSECT", "MINUS"].iter().any(|w| is_word(token, w));
                *set_operations += usize::from(is_set_operation);
                if *chain > CHAIN_TOKENS_MAX || *set_operations > SET_OPERATIONS_MAX {
                    let message = "the statement is too long a chain of operations; a list, as in x IN (...), or a \
                                   table of the values does the same"
                        .to_owned();
                    let start = token.span.start;
                    return Err(Error::Syntax { message, line: start.line, column: start.column });
                }
                if matches!(other, Token::LParen | Token::LBracket | Token::LBrace) {
                    levels.push((0, 0));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Parser, Source};

    /// DataFusion's statements, and `TRAIN ON source`.
    fn parse(sql: &str) -> Result<Vec<String>> {
        crate::sql::parse(sql, |parser: &mut Parser<'_>| match parser.optional("TRAIN ON")? {
            true => parser.source().map(|source| match source {
                Source::Table(name) => name.to_string(),
                Source::Query(query) => query.to_string(),
            }),
            false => parser.datafusion().map(|statement| statement.to_string()),
        })
    }

    /// Runs on a stack as small as that of an async runtime's thread.
    fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn a_chain_that_is_read_can_be_printed_and_freed_and_a_longer_one_is_refused() {
        for (start, link, links) in [
            ("SELECT 1", "+1", CHAIN_TOKENS_MAX / 2 - 1),
            ("SELECT true", " OR true", CHAIN_TOKENS_MAX / 2 - 1),
            ("SELECT 'a'", "||'a'", CHAIN_TOKENS_MAX / 2 - 1),
            ("SELECT a", "[1]", CHAIN_TOKENS_MAX - 2),
            ("SELECT a", "::int", CHAIN_TOKENS_MAX / 2 - 1),
            ("SELECT a", " IS NULL", CHAIN_TOKENS_MAX / 2 - 1),
            ("SELECT 1, 2", " UNION SELECT 1, 2", SET_OPERATIONS_MAX),
            ("SELECT * FROM t", " JOIN t", CHAIN_TOKENS_MAX / 2 - 4),
        ] {
            on_a_small_stack(move || {
                let sql = format!("{start}{}", link.repeat(links));
                let statements = parse(&sql).unwrap();
                assert!(statements[0].len() >= links);
                drop(statements);
                let ours = parse(&format!("TRAIN ON ({sql})")).unwrap();
                drop(ours);
                let message = parse(&format!("{start}{}", link.repeat(200_000))).unwrap_err().to_string();
                assert!(message.starts_with("the statement is too long a chain"), "{message}");
            });
        }
    }

    #[test]
    fn long_lists_are_read_and_deep_nesting_is_refused() {
        on_a_small_stack(|| {
            let list = vec!["1"; 100_000].join(", ");
            parse(&format!("SELECT a IN ({list}), {list} FROM t")).unwrap();
            parse(&format!("SELECT * FROM (VALUES {})", vec!["(1, 2)"; 50_000].join(","))).unwrap();
            for (open, middle, close) in
                [("(", "1", ")"), ("-", "1", ""), ("NOT ", "true", ""), ("f(", "1", ")"), ("[", "1", "]")]
            {
                let sql = format!("SELECT {}{middle}{}", open.repeat(3000), close.repeat(3000));
                let message = parse(&sql).unwrap_err().to_string();
                assert!(message.contains("nested too deeply") || message.contains("syntax error"), "{message}");
                assert!(parse(&format!("TRAIN ON ({sql})")).is_err());
            }
        });
    }
}
