//! Errors in Rust's Debug form, as Ballista writes them into its messages: `DataFusionError(Shared(Execution("...")))`.

use std::iter::Peekable;
use std::str::Chars;

use super::{Cause, CauseKind};

/// The longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// The errors in which Ballista wraps others. Names of types look like values, too, as in `Utf8("a")`.
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

/// A value in Debug's form.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// A string.
    Text(String),
    /// A variant or a struct, a list or a tuple (without a name), and what is in it, by field where fields have names.
    Node { name: String, parts: Vec<(Option<String>, Value)> },
    /// A number or the like.
    Other,
}

/// The first cause of the first error of Ballista's in Debug's form that a text holds.
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

/// A string in Debug's form, without its quotes.
pub(super) fn unquoted(text: &str) -> Option<String> {
    match Reader::new(text).value(0)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// The innermost error of a value.
fn first_cause(value: &Value) -> Option<Cause> {
    let Value::Node { name, parts } = value else { return None };
    // A backtrace, or none.
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

/// The cause that a variant with a text is, in the words in which its error displays itself.
fn own(name: &str, text: &str) -> Cause {
    let (kind, words) = match name {
        "Execution" | "External" | "ExternalError" | "General" => return Cause::of_text(text),
        // Of Ballista's, where a task panicked: its text is a string in Debug's form.
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

/// Reads values. Where a text is cut, what is there counts.
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
            // Something else than a value: as far as it goes.
            if !matches!(self.rest.peek(), None | Some(',' | ')' | ']' | '}')) {
                return None;
            }
        }
        Some(Value::Node { name, parts })
    }

    /// A field's name and its colon.
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

    /// A string, from its opening quote to its closing one.
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
