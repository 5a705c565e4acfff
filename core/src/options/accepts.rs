//! The accepted values of options: parsing, formatting and description.

use std::str::FromStr;

use super::OptionValue;

/// The accepted values of an option.
pub(super) trait Accepts<T> {
    /// Returns the value of a literal, or `None` if it is not accepted.
    fn parse(&self, literal: &OptionValue) -> Option<T>;

    /// Describes the accepted values, for documentation and error messages.
    fn expected(&self) -> String;

    /// Returns the literal of a value, or `None` if the value can only be given by leaving the option out.
    fn literal(&self, value: &T) -> Option<OptionValue>;

    /// Describes a value without a literal, for documentation.
    fn unset(&self) -> &'static str {
        "none"
    }
}

/// A type whose values are written as quoted text.
pub(crate) trait QuotedText: Sized {
    /// Parses a trimmed text.
    fn from_text(text: &str) -> Option<Self>;

    /// Lists the accepted texts.
    fn expected() -> String;

    /// Formats a value.
    fn to_text(&self) -> String;
}

/// The values that the type parses from text.
pub(super) struct Quoted;

impl<T: QuotedText> Accepts<T> for Quoted {
    fn parse(&self, literal: &OptionValue) -> Option<T> {
        T::from_text(text(literal)?)
    }

    fn expected(&self) -> String {
        T::expected()
    }

    fn literal(&self, value: &T) -> Option<OptionValue> {
        Some(OptionValue::Text(value.to_text()))
    }
}

/// Any text, with this description.
pub(super) struct Text(pub(super) &'static str);

impl Accepts<String> for Text {
    fn parse(&self, literal: &OptionValue) -> Option<String> {
        text(literal).map(str::to_owned)
    }

    fn expected(&self) -> String {
        self.0.to_owned()
    }

    fn literal(&self, value: &String) -> Option<OptionValue> {
        Some(OptionValue::Text(value.clone()))
    }
}

/// A class of a label column: text, a number or a boolean.
pub(super) struct Class;

impl Accepts<String> for Class {
    fn parse(&self, literal: &OptionValue) -> Option<String> {
        Some(match literal {
            OptionValue::Text(text) | OptionValue::Number(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn expected(&self) -> String {
        "a class".to_owned()
    }

    fn literal(&self, value: &String) -> Option<OptionValue> {
        Some(OptionValue::Text(value.clone()))
    }
}

/// true or false.
pub(super) struct Flag;

impl Accepts<bool> for Flag {
    fn parse(&self, literal: &OptionValue) -> Option<bool> {
        match literal {
            OptionValue::Bool(value) => Some(*value),
            OptionValue::Text(text) => text.to_lowercase().parse().ok(),
            _ => None,
        }
    }

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn literal(&self, value: &bool) -> Option<OptionValue> {
        Some(OptionValue::Bool(*value))
    }
}

/// Whole numbers.
pub(super) enum Whole {
    /// From the first to the second.
    Within(u32, u32),
    /// Multiples of the first up to the second.
    MultipleOf(u32, u32),
}

impl Accepts<u32> for Whole {
    fn parse(&self, literal: &OptionValue) -> Option<u32> {
        let number: u32 = number(literal)?;
        let fits = match *self {
            Self::Within(low, high) => (low..=high).contains(&number),
            Self::MultipleOf(step, high) => (step..=high).contains(&number) && number.is_multiple_of(step),
        };
        fits.then_some(number)
    }

    fn expected(&self) -> String {
        match self {
            Self::Within(low, high) => format!("a whole number from {low} to {high}"),
            Self::MultipleOf(step, high) => format!("a multiple of {step} from {step} to {high}"),
        }
    }

    fn literal(&self, value: &u32) -> Option<OptionValue> {
        Some(OptionValue::from(u64::from(*value)))
    }
}

/// Any unsigned 64-bit integer.
pub(super) struct AnyWhole;

impl Accepts<u64> for AnyWhole {
    fn parse(&self, literal: &OptionValue) -> Option<u64> {
        number(literal)
    }

    fn expected(&self) -> String {
        format!("a whole number from 0 to {}", u64::MAX)
    }

    fn literal(&self, value: &u64) -> Option<OptionValue> {
        Some(OptionValue::from(*value))
    }
}

/// One of two numbers.
pub(super) struct Either(pub(super) u8, pub(super) u8);

impl Accepts<u8> for Either {
    fn parse(&self, literal: &OptionValue) -> Option<u8> {
        let OptionValue::Number(digits) = literal else { return None };
        [self.0, self.1].into_iter().find(|number| number.to_string() == *digits)
    }

    fn expected(&self) -> String {
        format!("{} or {}", self.0, self.1)
    }

    fn literal(&self, value: &u8) -> Option<OptionValue> {
        Some(OptionValue::from(u64::from(*value)))
    }
}

/// Numbers between two bounds.
pub(super) enum Number {
    /// Both bounds are accepted.
    From(f64, f64),
    /// The second bound is accepted.
    Above(f64, f64),
    /// Neither bound is accepted.
    Between(f64, f64),
    /// 0, or from the first to the second bound.
    ZeroOr(f64, f64),
}

/// The largest decay below 1. A decay closer to 1 would have no effect.
pub(super) const DECAY_MAX: f64 = 0.999_999;

impl Accepts<f64> for Number {
    fn parse(&self, literal: &OptionValue) -> Option<f64> {
        let number: f64 = number(literal)?;
        let fits = match *self {
            Self::From(low, high) => (low..=high).contains(&number),
            Self::Above(low, high) => number > low && number <= high,
            Self::Between(low, high) => number > low && number < high,
            Self::ZeroOr(low, high) => number == 0.0 || (low..=high).contains(&number),
        };
        fits.then_some(number)
    }

    fn expected(&self) -> String {
        match self {
            Self::From(low, high) => format!("a number from {low} to {high}"),
            Self::Above(low, high) => format!("a number above {low} and up to {high}"),
            Self::Between(low, high) => format!("a number between {low} and {high}"),
            Self::ZeroOr(low, high) => format!("0, or a number from {low} to {high}"),
        }
    }

    fn literal(&self, value: &f64) -> Option<OptionValue> {
        Some(OptionValue::from(*value))
    }
}

/// A word for `None`, or the values of the other.
pub(super) struct WordOr<A>(pub(super) &'static str, pub(super) A);

impl<T, A: Accepts<T>> Accepts<Option<T>> for WordOr<A> {
    fn parse(&self, literal: &OptionValue) -> Option<Option<T>> {
        match literal {
            OptionValue::Text(text) if text.eq_ignore_ascii_case(self.0) => Some(None),
            _ => self.1.parse(literal).map(Some),
        }
    }

    fn expected(&self) -> String {
        format!("'{}' or {}", self.0, self.1.expected())
    }

    fn literal(&self, value: &Option<T>) -> Option<OptionValue> {
        value.as_ref().map_or_else(|| Some(OptionValue::from(self.0)), |value| self.1.literal(value))
    }
}

/// The values of the other. `None` is given by leaving the option out, and documentation shows this text for it.
pub(super) struct Unset<A>(pub(super) &'static str, pub(super) A);

impl<T, A: Accepts<T>> Accepts<Option<T>> for Unset<A> {
    fn parse(&self, literal: &OptionValue) -> Option<Option<T>> {
        self.1.parse(literal).map(Some)
    }

    fn expected(&self) -> String {
        self.1.expected()
    }

    fn literal(&self, value: &Option<T>) -> Option<OptionValue> {
        self.1.literal(value.as_ref()?)
    }

    fn unset(&self) -> &'static str {
        self.0
    }
}

/// Lists words in quotes, for documentation.
pub(crate) fn quoted(words: &[&str]) -> String {
    format!("'{}'", words.join("', '"))
}

fn text(literal: &OptionValue) -> Option<&str> {
    match literal {
        OptionValue::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

fn number<N: FromStr>(literal: &OptionValue) -> Option<N> {
    match literal {
        OptionValue::Number(digits) => digits.parse().ok(),
        _ => None,
    }
}
