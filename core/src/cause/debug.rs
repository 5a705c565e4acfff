//! Parses errors in Rust's `Debug` form, which Ballista writes into its messages:
//! `DataFusionError(Shared(Execution("...")))`.

use std::iter::Peekable;
use std::str::Chars;

use super::{Cause, CauseKind};

/// Maximum length of a text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Maximum nesting.
const DEPTH_MAX: usize = 64;

/// The Ballista errors that wrap others. Other names, as in `Utf8("a")`, are not errors.
const BALLISTAS: [&str; 10] = [
    "ArrowError",
    "Configuration",
    "DataFusionError",
    "General",
    "GrpcError",
    "Internal",
    "IoError",
    "NotImplemented",
    "SqlError",
    "TokioError",
];

/// A value in `Debug` form.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// A string.
    Text(String),
    /// A variant, a struct, a list or a tuple (without a name), with its fields.
    Node { name: String, parts: Vec<(Option<String>, Value)> },
    /// Another value, such as a number.
    Other,
}

/// Finds the root cause of the first Ballista error in `Debug` form in a text.
pub(super) fn cause(text: &str) -> Option<Cause> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let begins = text.char_indices().scan(' ', |before, (at, character)| {
        let begins = character.is_ascii_uppercase() && !is_word(*before);
        *before = character;
        Some(begins.then_some(at))
    });
    for at in begins.flatten() {
        let rest = &text[at..];
        let name_len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if !BALLISTAS.contains(&&rest[..name_len]) || !rest[name_len..].starts_with('(') {
            continue;
        }
        if let Some(cause) = Reader::new(rest).value(0).as_ref().and_then(first_cause) {
            return Some(cause);
        }
    }
    None
}

/// Unescapes a string in `Debug` form, without its quotes.
pub(super) fn unquoted(text: &str) -> Option<String> {
    match Reader::new(text).value(0)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Finds the innermost error of a value.
fn first_cause(value: &Value) -> Option<Cause> {
    let Value::Node { name, parts } = value else { return None };
    // An optional backtrace.
    if name == "Some" || name == "None" {
        return None;
    }
    let inner = parts.iter().find_map(|(_, part)| first_cause(part));
    let text = |wanted: &[&str]| {
        parts.iter().find_map(|(field, part)| match (field, part) {
            (None, Value::Text(text)) => Some(text),
            (Some(field), Value::Text(text)) if wanted.contains(&field.as_str()) => Some(text),
            _ => None,
        })
    };
    match (inner, text(&["message", "error"])) {
        (Some(inner), Some(what)) if name == "Context" => Some(inner.within(what)),
        (Some(inner), _) => Some(inner),
        (None, Some(text)) => Some(own(name, text)),
        (None, None) if name == "DivideByZero" => Some(Cause::new(CauseKind::Invalid, "Divide by zero error")),
        (None, None) => None,
    }
}

/// Converts a variant with a text to a cause, with the message that the error displays.
fn own(name: &str, text: &str) -> Cause {
    let (kind, words) = match name {
        "Execution" | "External" | "ExternalError" | "General" => return Cause::of_text(text),
        // Ballista uses this variant for panics. Its text is a string in `Debug` form.
        "Internal" => match unquoted(text) {
            Some(message) => return Cause::panicked(&message),
            None => (CauseKind::Internal, "Internal error: "),
        },
        "Custom" | "Os" => {
            let coded = Cause::of_text(text);
            let is_coded = coded.message != text.trim();
            return if is_coded { coded } else { Cause::new(CauseKind::Unavailable, format!("IO error: {text}")) };
        }
        "Plan" => (CauseKind::Invalid, "Error during planning: "),
        "Configuration" => (CauseKind::Invalid, "Invalid or Unsupported Configuration: "),
        "NotImplemented" => (CauseKind::Invalid, "This feature is not implemented: "),
        "ResourcesExhausted" => (CauseKind::Exhausted, "Resources exhausted: "),
        "NotYetImplemented" => (CauseKind::Invalid, "Not yet implemented: "),
        "CastError" => (CauseKind::Invalid, "Cast error: "),
        "MemoryError" => (CauseKind::Exhausted, "Memory error: "),
        "ParseError" => (CauseKind::Invalid, "Parser error: "),
        "SchemaError" => (CauseKind::Invalid, "Schema error: "),
        "ComputeError" => (CauseKind::Invalid, "Compute error: "),
        "ArithmeticOverflow" => (CauseKind::Invalid, "Arithmetic overflow: "),
        "CsvError" => (CauseKind::Invalid, "Csv error: "),
        "JsonError" => (CauseKind::Invalid, "Json error: "),
        "IpcError" => (CauseKind::Invalid, "Ipc error: "),
        "InvalidArgumentError" => (CauseKind::Invalid, "Invalid argument error: "),
        "ParquetError" => (CauseKind::Invalid, "Parquet argument error: "),
        _ => (CauseKind::Invalid, ""),
    };
    Cause::new(kind, format!("{words}{text}"))
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == ':'
}

/// A parser of values. If the text is truncated, it returns the part that exists.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.chars().peekable() }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match *self.rest.peek()? {
            '"' => Some(Value::Text(self.string())),
            '(' | '[' | '{' => self.node(String::new(), depth),
            character if character.is_alphabetic() => {
                let name = self.word();
                self.skip_space();
                match self.rest.peek() {
                    Some('(' | '{') => self.node(name, depth),
                    _ => Some(Value::Node { name, parts: Vec::new() }),
                }
            }
            _ => {
                while self.rest.next_if(|c| !",)]}".contains(*c)).is_some() {}
                Some(Value::Other)
            }
        }
    }

    fn node(&mut self, name: String, depth: usize) -> Option<Value> {
        let has_fields = self.rest.next()? == '{';
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            while self.rest.next_if_eq(&',').is_some() {
                self.skip_space();
            }
            match self.rest.peek() {
                None => break,
                Some(')' | ']' | '}') => {
                    self.rest.next();
                    break;
                }
                Some(_) => {}
            }
            let field = has_fields.then(|| self.field());
            parts.push((field, self.value(depth + 1)?));
            self.skip_space();
            // Other text, up to the next delimiter.
            if !matches!(self.rest.peek(), None | Some(',' | ')' | ']' | '}')) {
                return None;
            }
        }
        Some(Value::Node { name, parts })
    }

    /// Parses the name of a field and its colon.
    fn field(&mut self) -> String {
        let mut name = String::new();
        while let Some(character) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(character);
        }
        self.rest.next_if_eq(&':');
        name
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(character) = self.rest.next_if(|c| is_word(*c)) {
            word.push(character);
        }
        word
    }

    fn skip_space(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    /// Parses a string from its opening to its closing quote.
    fn string(&mut self) -> String {
        self.rest.next();
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => break,
                '\\' => text.extend(self.escape()),
                plain => text.push(plain),
            }
        }
        text
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            'u' => {
                let digits: String = self.rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?
            }
            itself => itself,
        })
    }
}
