//! The arguments of image functions: their types, and their values by row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use tusk_pixels::{ImageColumn, PixelsError, accepted_image_types, is_image_type};

/// The kind of an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Image,
    Integer,
    Text,
    /// A number, or a list of numbers with one entry per channel.
    Levels,
}

/// The name and arguments of a function. The last arguments may be optional.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Shape {
    /// The syntax of the call, for messages.
    pub(super) syntax: &'static str,
    pub(super) arguments: &'static [(&'static str, Kind)],
    pub(super) required: usize,
}

impl Shape {
    /// The name of the function.
    pub(super) fn name(&self) -> &'static str {
        self.syntax.split_once('(').map_or(self.syntax, |(name, _)| name)
    }

    /// The types the arguments are cast to before the function sees them.
    pub(super) fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Self { syntax, arguments, required } = *self;
        if !(required..=arguments.len()).contains(&types.len()) {
            let count = if required == arguments.len() {
                format!("{required} argument{}", if required == 1 { "" } else { "s" })
            } else {
                format!("{required} to {} arguments", arguments.len())
            };
            return plan_err!("{syntax} takes {count}, not {}", types.len());
        }
        let coerced = arguments.iter().zip(types).map(|(&(name, kind), found)| {
            let (wanted, hint) = match kind {
                Kind::Image => ("an image", format!("; {}", accepted_image_types())),
                Kind::Integer => ("an integer", String::new()),
                Kind::Text => ("text", String::new()),
                Kind::Levels => ("a number or a list of numbers", String::new()),
            };
            match coerced(kind, found) {
                Some(data_type) => Ok(data_type),
                None => plan_err!("{syntax}: argument '{name}' must be {wanted}, not {found}{hint}"),
            }
        });
        coerced.collect()
    }
}

fn coerced(kind: Kind, found: &DataType) -> Option<DataType> {
    match (kind, found) {
        (_, DataType::Dictionary(_, values)) => coerced(kind, values),
        (Kind::Image, DataType::Null | DataType::FixedSizeBinary(_)) => Some(DataType::Binary),
        (Kind::Image, found) if is_image_type(found) => Some(found.clone()),
        (Kind::Integer, found) if found.is_integer() || found.is_null() => Some(DataType::Int64),
        (Kind::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) => {
            Some(DataType::Utf8)
        }
        (Kind::Levels, found) if found.is_numeric() || found.is_null() => Some(DataType::Float64),
        (
            Kind::Levels,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item),
        ) if item.data_type().is_numeric() => {
            Some(DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true))))
        }
        _ => None,
    }
}

/// The arguments of a call. A constant is kept as a single value.
pub(super) struct Call {
    pub(super) function: &'static str,
    arguments: Vec<Argument>,
    /// Number of rows to compute: that of the batch, or one if every argument is constant.
    pub(super) rows: usize,
    constant: bool,
}

struct Argument {
    values: ArrayRef,
    constant: bool,
}

impl Argument {
    fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }
}

impl Call {
    pub(super) fn new(function: &'static str, args: &ScalarFunctionArgs) -> Result<Self> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arguments = args.args.iter().map(|value| match value {
            ColumnarValue::Array(values) => Ok(Argument { values: Arc::clone(values), constant: false }),
            ColumnarValue::Scalar(value) => Ok(Argument { values: value.to_array()?, constant: true }),
        });
        let arguments = arguments.collect::<Result<_>>()?;
        Ok(Self { function, arguments, rows: if constant { 1 } else { args.number_rows }, constant })
    }

    fn argument(&self, index: usize) -> Result<&Argument> {
        self.arguments
            .get(index)
            .ok_or_else(|| exec_datafusion_err!("{}: missing argument {}", self.function, index + 1))
    }

    /// Whether the call has this argument; optional ones may be left out.
    pub(super) fn has(&self, index: usize) -> bool {
        index < self.arguments.len()
    }

    /// The first argument as images.
    pub(super) fn images(&self) -> Result<Images<'_>> {
        let argument = self.argument(0)?;
        let column = ImageColumn::try_new(argument.values.as_ref())
            .map_err(|error: PixelsError| exec_datafusion_err!("{}: {error}", self.function))?;
        Ok(Images { column, argument })
    }

    /// Whether any argument but the image is NULL.
    pub(super) fn has_null(&self, row: usize) -> bool {
        self.arguments.iter().skip(1).any(|argument| argument.values.is_null(argument.at(row)))
    }

    /// Returns an integer argument. Callers must check for NULL first, see [`Call::has_null`].
    pub(super) fn integer(&self, index: usize, row: usize) -> Result<i64> {
        let argument = self.argument(index)?;
        let values = argument.values.as_primitive_opt::<Int64Type>();
        values.map(|values| values.value(argument.at(row))).ok_or_else(|| self.wrong_type(index, argument))
    }

    /// A text argument.
    pub(super) fn text(&self, index: usize, row: usize) -> Result<&str> {
        let argument = self.argument(index)?;
        let values = argument.values.as_string_opt::<i32>();
        values.map(|values| values.value(argument.at(row))).ok_or_else(|| self.wrong_type(index, argument))
    }

    /// A number, or a list of them.
    pub(super) fn levels(&self, index: usize, row: usize) -> Result<Levels> {
        let argument = self.argument(index)?;
        let at = argument.at(row);
        if let Some(numbers) = argument.values.as_primitive_opt::<Float64Type>() {
            return Ok(Levels::Every(numbers.value(at)));
        }
        let list: &ListArray = argument.values.as_list_opt().ok_or_else(|| self.wrong_type(index, argument))?;
        let entries = list.value(at);
        let entries: &Float64Array = entries.as_primitive_opt().ok_or_else(|| self.wrong_type(index, argument))?;
        // A NULL entry becomes NaN, which the function refuses like every value that is not finite.
        Ok(Levels::PerChannel(entries.iter().map(|entry| entry.unwrap_or(f64::NAN)).collect()))
    }

    fn wrong_type(&self, index: usize, argument: &Argument) -> datafusion::error::DataFusionError {
        let found = argument.values.data_type();
        exec_datafusion_err!("{}: unexpected type {found} of argument {}", self.function, index + 1)
    }

    /// Returns the result for DataFusion, as a constant if all arguments are constant.
    pub(super) fn finish(&self, values: ArrayRef) -> Result<ColumnarValue> {
        if self.constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// The image argument of a call.
pub(super) struct Images<'a> {
    pub(super) column: ImageColumn<'a>,
    argument: &'a Argument,
}

impl Images<'_> {
    /// The row of the column that belongs to a row of the result.
    pub(super) fn at(&self, row: usize) -> usize {
        self.argument.at(row)
    }
}

/// One level for every channel, or one per channel.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Levels {
    Every(f64),
    PerChannel(Vec<f64>),
}

impl Levels {
    /// Returns the number of channels, if the levels are a list.
    pub(super) fn channels(&self) -> Option<usize> {
        match self {
            Levels::Every(_) => None,
            Levels::PerChannel(levels) => Some(levels.len()),
        }
    }

    /// Returns the level of a channel, or NaN if it is missing.
    pub(super) fn of(&self, channel: usize) -> f64 {
        match self {
            Levels::Every(level) => *level,
            Levels::PerChannel(levels) => levels.get(channel).copied().unwrap_or(f64::NAN),
        }
    }
}
