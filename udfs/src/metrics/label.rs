//! Class labels in SQL: text of any Arrow type, integers and booleans.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, ScalarValue, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;

/// Maximum number of distinct labels of an aggregate. A column with more is probably not a label column, and would use
/// too much memory.
pub(super) const LABELS_MAX: usize = 1_000_000;

/// The kinds of labels. Every SQL type of a label is coerced to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Text,
}

impl Kind {
    /// Returns the kind of labels of type `data_type`, or `None` if they cannot be labels.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Boolean),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Self::Text),
            DataType::Dictionary(_, values) => Self::of(values),
            integer if integer.is_integer() => Some(Self::Integer),
            _ => None,
        }
    }

    /// Returns the type that arguments of this kind are cast to.
    pub(super) fn argument_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Text => DataType::Utf8View,
        }
    }

    /// Returns the type of labels of this kind in partial states.
    pub(super) fn state_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Text => DataType::Utf8,
        }
    }

    /// Returns the common kind of the label arguments of `function`. Booleans and integers have the common kind
    /// integer, and an untyped NULL has the kind of the others.
    pub(super) fn common(function: &str, arguments: &[(&str, &DataType)]) -> Result<Self> {
        let mut common: Option<(Self, &str)> = None;
        for &(name, data_type) in arguments {
            if data_type.is_null() {
                continue;
            }
            let Some(kind) = Self::of(data_type) else {
                return plan_err!(
                    "{function}: {name} has type {data_type}; labels must be text, integers or booleans. Cast it to \
                     one of them"
                );
            };
            common = match common {
                None => Some((kind, name)),
                Some((seen, of)) if seen == kind => Some((seen, of)),
                Some((Self::Boolean | Self::Integer, of)) if kind != Self::Text => Some((Self::Integer, of)),
                Some((seen, of)) => {
                    return plan_err!(
                        "{function}: {of} contains {seen} and {name} contains {kind}; both must have the same type. \
                         Cast one of them"
                    );
                }
            };
        }
        Ok(common.map_or(Self::Text, |(kind, _)| kind))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "booleans",
            Self::Integer => "integers",
            Self::Text => "text",
        })
    }
}

/// A label. Its order is that of SQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Label {
    Boolean(bool),
    Integer(i64),
    Text(Arc<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(label) => label.fmt(f),
            Self::Integer(label) => label.fmt(f),
            Self::Text(label) => f.write_str(label),
        }
    }
}

impl Label {
    /// Returns the label of the constant expression `positive` of `function`.
    pub(super) fn constant(function: &str, positive: &Arc<dyn PhysicalExpr>) -> Result<Self> {
        let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let Ok(ColumnarValue::Scalar(value)) = positive.evaluate(&nothing) else {
            return plan_err!("{function}: the positive label must be a constant such as 'PNEUMONIA', got {positive}");
        };
        if value.is_null() {
            return plan_err!("{function}: the positive label is NULL; give a label, or omit the argument");
        }
        let unsupported = || {
            plan_datafusion_err!("{function}: the positive label must be text, an integer or a boolean, got {value}")
        };
        let kind = Kind::of(&value.data_type()).ok_or_else(unsupported)?;
        match value.cast_to(&kind.argument_type())? {
            ScalarValue::Boolean(Some(label)) => Ok(Self::Boolean(label)),
            ScalarValue::Int64(Some(label)) => Ok(Self::Integer(label)),
            ScalarValue::Utf8View(Some(label)) => Ok(Self::Text(label.into())),
            _ => Err(unsupported()),
        }
    }
}

/// A column of labels, in the one array type of its kind.
#[derive(Debug)]
pub(super) enum LabelColumn {
    Boolean(BooleanArray),
    Integer(Int64Array),
    Text(StringViewArray),
}

impl LabelColumn {
    pub(super) fn try_new(function: &str, column: &ArrayRef) -> Result<Self> {
        let Some(kind) = Kind::of(column.data_type()) else {
            return exec_err!("{function}: a column of type {} cannot hold labels", column.data_type());
        };
        let column = cast(column, &kind.argument_type())?;
        Ok(match kind {
            Kind::Boolean => Self::Boolean(column.as_boolean().clone()),
            Kind::Integer => Self::Integer(column.as_primitive::<Int64Type>().clone()),
            Kind::Text => Self::Text(column.as_string_view().clone()),
        })
    }

    /// Returns whether each row has `label`, or `None` for NULL.
    pub(super) fn holds(&self, label: &Label) -> Vec<Option<bool>> {
        match (self, label) {
            (Self::Boolean(column), Label::Boolean(label)) => {
                column.iter().map(|row| row.map(|row| row == *label)).collect()
            }
            (Self::Integer(column), Label::Integer(label)) => {
                column.iter().map(|row| row.map(|row| row == *label)).collect()
            }
            (Self::Text(column), Label::Text(label)) => {
                column.iter().map(|row| row.map(|row| row == label.as_ref())).collect()
            }
            (Self::Boolean(column), _) => column.iter().map(|row| row.map(|_| false)).collect(),
            (Self::Integer(column), _) => column.iter().map(|row| row.map(|_| false)).collect(),
            (Self::Text(column), _) => column.iter().map(|row| row.map(|_| false)).collect(),
        }
    }
}

/// Assigns a number to each distinct label.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: HashMap<Arc<str>, u32>,
    integers: HashMap<i64, u32>,
    labels: Vec<Label>,
    text_bytes: usize,
}

impl Interner {
    /// Returns the number of the label of each row, or `None` for NULL.
    pub(super) fn intern(&mut self, function: &str, column: &LabelColumn) -> Result<Vec<Option<u32>>> {
        let numbers: Result<Vec<Option<u32>>> = match column {
            LabelColumn::Boolean(column) => column
                .iter()
                .map(|row| row.map(|row| self.integer(i64::from(row), Label::Boolean(row))).transpose())
                .collect(),
            LabelColumn::Integer(column) => {
                column.iter().map(|row| row.map(|row| self.integer(row, Label::Integer(row))).transpose()).collect()
            }
            LabelColumn::Text(column) => column.iter().map(|row| row.map(|row| self.text(row)).transpose()).collect(),
        };
        numbers.map_err(|error| error.context(function.to_owned()))
    }

    /// Returns the label of a number from [`Self::intern`].
    pub(super) fn label(&self, number: u32) -> Option<&Label> {
        self.labels.get(number as usize)
    }

    /// Returns the size in bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        // A hash map allocates about an eighth more than its capacity, and a control byte per slot.
        self.labels.capacity() * size_of::<Label>()
            + self.texts.capacity() * (size_of::<(Arc<str>, u32)>() + 2)
            + self.integers.capacity() * (size_of::<(i64, u32)>() + 2)
            + self.text_bytes
    }

    fn integer(&mut self, key: i64, label: Label) -> Result<u32> {
        if let Some(&number) = self.integers.get(&key) {
            return Ok(number);
        }
        let number = self.push(label)?;
        self.integers.insert(key, number);
        Ok(number)
    }

    fn text(&mut self, text: &str) -> Result<u32> {
        if let Some(&number) = self.texts.get(text) {
            return Ok(number);
        }
        let text: Arc<str> = text.into();
        let number = self.push(Label::Text(Arc::clone(&text)))?;
        self.text_bytes += text.len() + 2 * size_of::<usize>();
        self.texts.insert(text, number);
        Ok(number)
    }

    fn push(&mut self, label: Label) -> Result<u32> {
        match u32::try_from(self.labels.len()) {
            Ok(number) if self.labels.len() < LABELS_MAX => {
                self.labels.push(label);
                Ok(number)
            }
            _ => exec_err!("more than {LABELS_MAX} distinct labels; check that both arguments are label columns"),
        }
    }
}

/// An array of `labels` in the state type of `kind`.
pub(super) fn label_array<'a>(kind: Kind, labels: impl Iterator<Item = &'a Label>) -> ArrayRef {
    match kind {
        Kind::Boolean => Arc::new(
            labels
                .map(|label| match label {
                    Label::Boolean(label) => Some(*label),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        Kind::Integer => Arc::new(
            labels
                .map(|label| match label {
                    Label::Integer(label) => Some(*label),
                    _ => None,
                })
                .collect::<Int64Array>(),
        ),
        Kind::Text => Arc::new(StringArray::from_iter_values(labels.map(Label::to_string))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparable_kinds_have_a_common_kind_and_others_are_refused() {
        let common = |a: &DataType, b: &DataType| Kind::common("accuracy", &[("truth", a), ("predicted", b)]);
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8));
        assert_eq!(common(&dictionary, &DataType::Utf8View).unwrap(), Kind::Text);
        assert_eq!(common(&DataType::UInt8, &DataType::Int64).unwrap(), Kind::Integer);
        assert_eq!(common(&DataType::Boolean, &DataType::Int32).unwrap(), Kind::Integer);
        assert_eq!(common(&DataType::Int32, &DataType::Boolean).unwrap(), Kind::Integer);
        assert_eq!(common(&DataType::Null, &DataType::Boolean).unwrap(), Kind::Boolean);
        assert_eq!(common(&DataType::Null, &DataType::Null).unwrap(), Kind::Text);
        let mixed = common(&DataType::Utf8, &DataType::Int64).unwrap_err().to_string();
        assert!(mixed.contains("truth contains text and predicted contains integers"), "{mixed}");
        let float = common(&DataType::Utf8, &DataType::Float32).unwrap_err().to_string();
        assert!(float.contains("predicted has type Float32"), "{float}");
    }

    #[test]
    fn a_label_has_the_same_number_in_every_array_type() {
        let mut interner = Interner::default();
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary] {
            let column = LabelColumn::try_new("f", &cast(&words, &data_type).unwrap()).unwrap();
            let numbers = interner.intern("f", &column).unwrap();
            assert_eq!(numbers, [Some(0), None, Some(1), Some(0)], "{data_type}");
        }
        assert_eq!(interner.label(1), Some(&Label::Text("a".into())));
        assert!(interner.heap_bytes() > 0);
    }

    #[test]
    fn too_many_labels_are_refused_with_the_limit() {
        let mut interner = Interner::default();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..=LABELS_MAX as i64));
        let error = interner.intern("accuracy", &LabelColumn::try_new("accuracy", &ids).unwrap()).unwrap_err();
        assert!(error.to_string().contains("more than 1000000 distinct labels"), "{error}");
        assert!(error.to_string().contains("accuracy"), "{error}");
    }
}
