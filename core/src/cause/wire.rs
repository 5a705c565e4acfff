//! Encodes a cause as text that survives quoting: `tusk-error[kind|message|hint]`.
//!
//! Each `Debug` layer escapes quotes, backslashes and control characters again. The encoded text contains none of them:
//! they are percent-encoded, as in a URL. The rest of the text stays readable in the logs and the REST API of Ballista.

use super::{Cause, CauseKind};

const BEGIN: &str = "tusk-error[";
const END: char = ']';
const BETWEEN: char = '|';
const ESCAPE: char = '%';

/// Maximum number of characters of a message or a hint, because an error may quote a value of any length.
const CHARACTERS_MAX: usize = 8192;

/// The kinds and their names.
const KINDS: [(CauseKind, &str); 6] = [
    (CauseKind::Invalid, "invalid"),
    (CauseKind::NotFound, "not-found"),
    (CauseKind::Exists, "exists"),
    (CauseKind::Exhausted, "exhausted"),
    (CauseKind::Unavailable, "unavailable"),
    (CauseKind::Internal, "internal"),
];

/// Encodes a cause.
pub(super) fn encode(cause: &Cause) -> String {
    let kind = KINDS.iter().find(|(kind, _)| *kind == cause.kind).map_or("internal", |(_, word)| word);
    let (message, hint) = (escaped(&cause.message), escaped(cause.hint.as_deref().unwrap_or_default()));
    format!("{BEGIN}{kind}{BETWEEN}{message}{BETWEEN}{hint}{END}")
}

/// Finds and decodes an encoded cause in a text.
pub(super) fn decode(text: &str) -> Option<Cause> {
    let coded = &text[text.find(BEGIN)? + BEGIN.len()..];
    // If the text is truncated, only its end is missing.
    let coded = coded.split(END).next()?;
    let mut parts = coded.split(BETWEEN);
    let (kind, message) = (parts.next()?, unescaped(parts.next()?));
    let hint = parts.next().map(unescaped).filter(|hint| !hint.is_empty());
    let kind = KINDS.iter().find(|(_, word)| *word == kind).map_or(CauseKind::Internal, |(kind, _)| *kind);
    Some(Cause { kind, message, hint })
}

fn escaped(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for (count, character) in text.chars().enumerate() {
        if count == CHARACTERS_MAX {
            coded.push_str("...");
            break;
        }
        let is_ours = [ESCAPE, BETWEEN, END, '['].contains(&character);
        // `Debug` does not escape a single quote inside a string.
        if is_ours || (character != '\'' && character.escape_debug().len() > 1) {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                coded.push_str(&format!("{ESCAPE}{byte:02X}"));
            }
        } else {
            coded.push(character);
        }
    }
    coded
}

fn unescaped(coded: &str) -> String {
    let mut bytes = Vec::with_capacity(coded.len());
    let mut rest = coded.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == ESCAPE as u8 => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        (bytes, rest) = match byte {
            Some((high, low)) => (pushed(bytes, (high << 4) | low), &after[2..]),
            None => (pushed(bytes, *first), after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
