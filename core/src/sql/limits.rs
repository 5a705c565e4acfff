//! How long a statement may be where length becomes depth.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result};

/// The deepest tree of a statement. `1 + 1 + 1 ...` is read in a loop, but becomes a tree as deep as it is long, and what
/// walks or frees it calls itself. The stacks of Tusk's threads are large enough for this depth: without a limit, a
/// statement of a megabyte would overflow them, which no process survives. A list may be as long as it likes.
const DEPTH_MAX: usize = 12_000;

/// The most UNION, EXCEPT and INTERSECT in each other, for the same reason. Their trees take more of the stack.
const SET_OPERATIONS_MAX: usize = 500;

/// The classes of operators, from those that bind least: JOIN, OR, AND, and all others.
const CLASSES: usize = 4;

/// What a token does to the depth of the tree.
enum Effect {
    /// Nothing: names, values and space.
    None,
    /// The next part of a list.
    Separator,
    /// Opens brackets, or a CASE.
    Open {
        is_case: bool,
        is_index: bool,
    },
    /// Closes brackets.
    Close,
    /// Closes a CASE.
    End,
    /// An operator of this class.
    Operator(usize),
    SetOperation,
    NextStatement,
}

fn effect(token: &Token, is_in_case: bool) -> Effect {
    match token {
        Token::Whitespace(_)
        | Token::EOF
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_) => Effect::None,
        Token::Comma => Effect::Separator,
        Token::SemiColon => Effect::NextStatement,
        Token::LParen | Token::LBrace => Effect::Open { is_case: false, is_index: false },
        Token::LBracket => Effect::Open { is_case: false, is_index: true },
        Token::RParen | Token::RBracket | Token::RBrace => Effect::Close,
        Token::Word(word) => match word.keyword {
            Keyword::NoKeyword | Keyword::NOT | Keyword::NULL | Keyword::TRUE | Keyword::FALSE => Effect::None,
            Keyword::CASE => Effect::Open { is_case: true, is_index: false },
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE if is_in_case => Effect::Separator,
            Keyword::END if is_in_case => Effect::End,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => Effect::SetOperation,
            Keyword::JOIN => Effect::Operator(0),
            Keyword::OR => Effect::Operator(1),
            Keyword::AND | Keyword::XOR => Effect::Operator(2),
            _ => Effect::Operator(3),
        },
        _ => Effect::Operator(3),
    }
}

/// What is inside of the same brackets or CASE.
#[derive(Default)]
struct Level {
    is_case: bool,
    /// The operators of each class since the last that binds less.
    chain: [usize; CLASSES],
    /// The longest chain of each class since the last comma. The tree is at most as deep as all of them together, since
    /// operators that bind less hold those that bind more.
    longest: [usize; CLASSES],
    /// The deepest tree in inner brackets since the last comma.
    below: usize,
    /// The deepest tree before the last comma.
    before: usize,
    set_operations: usize,
    /// The most set operations in each other in inner brackets.
    set_operations_below: usize,
}

impl Level {
    fn operator(&mut self, class: usize) {
        self.chain[class] += 1;
        self.longest[class] = self.longest[class].max(self.chain[class]);
        self.chain[class + 1..].fill(0);
    }

    fn separator(&mut self) {
        self.before = self.depth();
        (self.chain, self.longest, self.below) = Default::default();
    }

    /// Adds the tree of inner brackets.
    fn close(&mut self, inner: &Self) {
        self.below = self.below.max(inner.depth() + 1);
        self.set_operations_below = self.set_operations_below.max(inner.all_set_operations());
    }

    fn depth(&self) -> usize {
        self.before.max(self.longest.iter().sum::<usize>() + self.below)
    }

    fn all_set_operations(&self) -> usize {
        self.set_operations + self.set_operations_below
    }

    fn is_too_deep(&self) -> bool {
        self.depth() > DEPTH_MAX || self.all_set_operations() > SET_OPERATIONS_MAX
    }
}

/// Refuses statements whose tree would be too deep.
pub(super) fn check_limits(tokens: &[TokenWithSpan]) -> Result<()> {
    let (mut outer, mut level): (Vec<Level>, Level) = Default::default();
    for token in tokens {
        match effect(&token.token, level.is_case) {
            Effect::None => {}
            Effect::Separator => level.separator(),
            Effect::Operator(class) => level.operator(class),
            Effect::SetOperation => level.set_operations += 1,
            Effect::NextStatement => {
                outer.clear();
                level = Level::default();
            }
            Effect::Open { is_case, is_index } => {
                if is_index {
                    level.operator(CLASSES - 1);
                }
                outer.push(std::mem::replace(&mut level, Level { is_case, ..Level::default() }));
            }
            Effect::Close | Effect::End => {
                // A bracket that was not opened is an error of the parser.
                if let Some(mut around) = outer.pop() {
                    around.close(&level);
                    level = around;
                }
            }
        }
        if level.is_too_deep() {
            let message =
                "the statement is too long a chain of operations; a list, as in x IN (...), or a table of the \
                           values does the same"
                    .to_owned();
            let start = token.span.start;
            return Err(Error::Syntax { message, line: start.line, column: start.column });
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

    /// Runs on a stack of this many megabytes. The threads of Tusk have 128, those of other async runtimes 2.
    fn on_a_stack(megabytes: usize, work: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(megabytes << 20).spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn a_chain_that_is_read_can_be_printed_and_freed_and_a_longer_one_is_refused() {
        for (start, link, links) in [
            ("SELECT 1", "+1", DEPTH_MAX - 9),
            ("SELECT true", " OR true", DEPTH_MAX - 9),
            ("SELECT a", " AND b > 1 OR c = 2", DEPTH_MAX / 3),
            ("SELECT a", " AND t.b BETWEEN 1 AND 2", DEPTH_MAX / 2 - 9),
            ("SELECT 'a'", "||'a'", DEPTH_MAX - 9),
            ("SELECT a", "[1]", DEPTH_MAX - 9),
            ("SELECT a", "::int", DEPTH_MAX / 2 - 9),
            ("SELECT a", " IS NOT NULL", DEPTH_MAX - 9),
            ("SELECT 1, 2", " UNION SELECT 1, 2", SET_OPERATIONS_MAX),
            ("SELECT * FROM t", " JOIN t", DEPTH_MAX - 9),
        ] {
            on_a_stack(128, move || {
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
        on_a_stack(2, || {
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

    #[test]
    fn chains_in_brackets_and_cases_count_together_and_lists_do_not() {
        on_a_stack(128, || {
            let half = "+1".repeat(DEPTH_MAX / 2);
            parse(&format!("SELECT (1{half}), (1{half}), 1{half}")).unwrap();
            for sql in [
                format!("SELECT ((1{half})+1{half})"),
                format!("SELECT CASE WHEN a THEN 1{half} END{half}"),
                format!("SELECT f(1, 1{half}, 2){half}"),
                format!("SELECT (SELECT 1{half}){half}"),
                format!("SELECT ({0}) {0}", "SELECT 1 UNION ".repeat(SET_OPERATIONS_MAX / 2 + 1)),
            ] {
                let message = parse(&sql).unwrap_err().to_string();
                assert!(message.starts_with("the statement is too long a chain"), "{message}");
            }
            parse(&format!("SELECT CASE a {} END FROM t", "WHEN 1 + 1 THEN 2 ".repeat(20_000))).unwrap();
            for terms in ["+t.x", " AND t.x > 1", " OR x IS NOT NULL", " AND x BETWEEN 1 AND 2", "+(a)", "*-1"] {
                parse(&format!("SELECT a{}", terms.repeat(5000))).unwrap();
            }
        });
    }
}
