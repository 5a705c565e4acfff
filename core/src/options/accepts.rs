//! Which values an option takes, how each is read, and how it is described.

use std::str::FromStr;

use super::OptionValue;

/// The values of a type that an option takes.
pub(super) trait Accepts<T> {
    /// The value of a literal, if it is one of these.
    fn parse(&self, literal: &OptionValue) -> Option<T>;

    /// What is accepted, as documentation and error messages say it.
    fn expected(&self) -> String;

    /// The literal of a value; `None` for a value that only leaving the option out gives.
    fn literal(&self, value: &T) -> Option<OptionValue>;

    /// How documentation calls a value without a literal.
    fn unset(&self) -> &'static str {
        "none"
    }
}

/// A type whose values are written as text in quotes.
pub(crate) trait QuotedText: Sized {
    /// The value of a text without spaces around it.
    fn from_text(text: &str) -> Option<Self>;

    /// The texts that there are.
    fn expected() -> String;

    /// The text of a value.
    fn to_text(&self) -> String;
}

/// What the type itself reads from text.
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

/// Any text, described by these words.
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

/// A class as it stands in a label column: numbers and booleans too.
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

/// Any whole number of 64 bits that is not negative.
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

/// The largest fraction below 1 that a decay may be: one nearer to 1 would never forget.
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

/// A word for `None`, or what the other accepts.
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

/// What the other accepts; `None`, which documentation calls by these words, is an option that is left out.
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

/// Words as documentation lists what is accepted: each in quotes.
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
