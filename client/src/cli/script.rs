//! Splits a script into statements, at each `;` outside quotes and comments.

/// The text of one statement, without its semicolon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// The text from its first word on.
    pub(crate) text: &'a str,
    /// The offset in the script, in bytes.
    pub(crate) begin: usize,
    /// The line of the first word, from 1.
    pub(crate) line: usize,
    /// The column of the first word, in characters from 1.
    pub(crate) column: usize,
    /// Whether the piece ends with a semicolon. Only the last piece may lack one.
    pub(crate) ended: bool,
}

impl Piece<'_> {
    /// Pads the text to its position in the script, so that errors have the line and column of the script.
    pub(crate) fn in_its_place(&self) -> String {
        "\n".repeat(self.line - 1) + &" ".repeat(self.column - 1) + self.text
    }

    /// The first characters, for messages.
    pub(crate) fn beginning(&self) -> String {
        const CHARACTERS_MAX: usize = 60;
        let words = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match words.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => format!("{} ...", words[..end].trim_end()),
            None => words,
        }
    }
}

/// Splits a script into statements. Pieces of only space and comments are left out.
pub(crate) fn split(script: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut begin = None;
    while let Some(character) = script[at..].chars().next() {
        let end = at + token_len(script, at);
        if character == ';' {
            if let Some(begin) = begin.take() {
                pieces.push(piece(script, begin, at, true));
            }
        } else if !(character.is_whitespace() || is_comment(&script[at..])) {
            begin.get_or_insert(at);
        }
        at = end;
    }
    if let Some(begin) = begin {
        pieces.push(piece(script, begin, script.len(), false));
    }
    pieces
}

fn piece(script: &str, begin: usize, end: usize, ended: bool) -> Piece<'_> {
    let before = &script[..begin];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Piece {
        text: script[begin..end].trim_end(),
        begin,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        ended,
    }
}

fn is_comment(rest: &str) -> bool {
    rest.starts_with("--") || rest.starts_with("/*")
}

/// The number of bytes up to the end of the quote, comment or character that begins at `at`. An unclosed token ends
/// with the script.
fn token_len(script: &str, at: usize) -> usize {
    let rest = &script[at..];
    let first = rest.chars().next().unwrap_or(' ');
    let before = script[..at].chars().next_back();
    match first {
        '\'' => {
            // E'it\'s': a backslash is an escape only after the letter E, if E is a word of its own.
            let mut back = script[..at].chars().rev();
            let escapes = matches!(back.next(), Some('e' | 'E')) && !back.next().is_some_and(is_word);
            quote_len(rest, first, escapes)
        }
        '"' | '`' => quote_len(rest, first, false),
        '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
        '/' if rest.starts_with("/*") => comment_len(rest),
        '$' if !before.is_some_and(is_word) => dollar_len(rest).unwrap_or(1),
        _ => first.len_utf8(),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The length of a quoted text. A doubled quote counts as the end of one text and the start of the next.
fn quote_len(rest: &str, quote: char, escapes: bool) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if escapes && character == '\\' {
            escaped = true;
        } else if character == quote {
            return index + character.len_utf8();
        }
    }
    rest.len()
}

/// The length of a comment. Comments can be nested.
fn comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if tail.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of `$tag$ ... $tag$`. `None` if this is not such a quote but a placeholder like `$1`.
fn dollar_len(rest: &str) -> Option<usize> {
    let tag_len = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_len];
    let name = &tag[1..tag_len - 1];
    if !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(rest[tag_len..].find(tag).map_or(rest.len(), |end| tag_len + end + tag_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<&str> {
        split(script).iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_end_a_statement() {
        for text in [
            "SELECT ';', 'it''s;', \";\", `;`",
            "SELECT E'a\\';', 1",
            "SELECT $$ ; $$, $x$ ; $$ ; $x$",
            "SELECT 1 -- one; two\n, 2",
            "SELECT 1 /* a; /* b; */ c; */ , 2",
            "SELECT $1, $2",
        ] {
            assert_eq!(texts(&format!("{text}; SELECT 2")), [text, "SELECT 2"]);
        }
    }

    #[test]
    fn an_unclosed_statement_does_not_end() {
        for script in ["SELECT 'a;", "SELECT \"a;", "SELECT 1 /* ;", "SELECT $$ ;", "SELECT 1"] {
            let pieces = split(script);
            assert_eq!(pieces.len(), 1, "{script}");
            assert!(!pieces[0].ended, "{script}");
        }
        assert!(split("SELECT 'é;';")[0].ended);
    }

    #[test]
    fn space_and_comments_alone_are_not_a_statement() {
        assert!(split(" ;; -- nothing;\n /* ; */ ;\n").is_empty());
    }

    #[test]
    fn a_piece_has_the_position_of_its_first_word() {
        let script = "SELECT 1; -- é\n\n  /* x */ SELECT\n 2;";
        let places: Vec<_> = split(script).iter().map(|piece| (piece.line, piece.column)).collect();
        assert_eq!(places, [(1, 1), (3, 11)]);
    }

    #[cfg(feature = "embedded")]
    #[test]
    fn syntax_errors_carry_the_line_of_the_script() {
        let script = "SELECT 1;\nSELECT 2; CREATE MODEL m TRAIN FROM t;";
        let error = tusk_scheduler::check(&split(script)[2].in_its_place()).unwrap_err().to_string();
        assert_eq!(error, "syntax error: expected ON, found FROM at line 2, column 32");
    }

    #[test]
    fn a_long_statement_is_shown_by_its_beginning() {
        let script = format!("SELECT\n   {}", "é, ".repeat(40));
        let beginning = split(&script)[0].beginning();
        assert!(beginning.starts_with("SELECT é, é") && beginning.ends_with(" ..."), "{beginning}");
    }
}
