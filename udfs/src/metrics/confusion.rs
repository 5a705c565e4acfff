//! The accumulator behind `accuracy`, `precision`, `recall`, `f1` and `confusion_matrix`: how often each pair of
//! (truth, predicted) was seen. The five functions differ only in how they evaluate these counts.

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};
use tusk_core::metrics::{Confusion, MultiConfusion};

use super::label::{Interner, Kind, LABELS_MAX, Label, LabelColumn, label_array};

/// The result computed from the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PairMetric {
    Accuracy,
    Precision,
    Recall,
    F1,
    Matrix,
}

impl PairMetric {
    fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::Matrix => "confusion_matrix",
        }
    }

    /// Returns whether the metric has a positive class, which the third argument may give.
    fn takes_positive(self) -> bool {
        matches!(self, Self::Precision | Self::Recall | Self::F1)
    }

    fn return_type(self) -> DataType {
        match self {
            Self::Matrix => DataType::new_list(DataType::Struct(matrix_fields()), true),
            _ => DataType::Float64,
        }
    }
}

/// The columns of the rows of a confusion matrix.
fn matrix_fields() -> Fields {
    Fields::from(vec![
        Field::new("truth", DataType::Utf8, true),
        Field::new("predicted", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
    ])
}

/// An SQL aggregate over pairs of labels.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PairAggregate {
    metric: PairMetric,
    signature: Signature,
    documentation: Documentation,
}

impl PairAggregate {
    pub(super) fn new(metric: PairMetric, documentation: Documentation) -> Self {
        Self { metric, signature: Signature::user_defined(Volatility::Immutable), documentation }
    }
}

impl AggregateUDFImpl for PairAggregate {
    fn name(&self) -> &str {
        self.metric.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let names: &[&str] =
            if self.metric.takes_positive() { &["truth", "predicted", "positive"] } else { &["truth", "predicted"] };
        if arg_types.len() < 2 || arg_types.len() > names.len() {
            let (name, usage) = (self.name(), &self.documentation.syntax_example);
            return plan_err!("{name} expects {usage}, got {} arguments", arg_types.len());
        }
        let arguments: Vec<(&str, &DataType)> = names.iter().copied().zip(arg_types).collect();
        let kind = Kind::common(self.name(), &arguments)?;
        Ok(vec![kind.argument_type(); arg_types.len()])
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.metric.return_type())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(self.name(), args.is_distinct)?;
        let positive = args.exprs.get(2).map(|positive| Label::constant(self.name(), positive)).transpose()?;
        Ok(Box::new(PairAccumulator {
            metric: self.metric,
            positive,
            kind: kind_of_first(self.name(), args.expr_fields)?,
            labels: Interner::default(),
            counts: HashMap::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let label = kind_of_first(self.name(), args.input_fields)?.state_type();
        Ok([("truth", label.clone()), ("predicted", label), ("count", DataType::Int64)]
            .map(|(name, item)| {
                Arc::new(Field::new(format_state_name(args.name, name), DataType::new_list(item, true), true))
            })
            .to_vec())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// DISTINCT would count each pair once, which is not a useful metric. It is refused.
pub(super) fn refuse_distinct(function: &str, is_distinct: bool) -> Result<()> {
    if is_distinct {
        return not_impl_err!("{function} does not support DISTINCT");
    }
    Ok(())
}

fn kind_of_first(function: &str, fields: &[FieldRef]) -> Result<Kind> {
    match fields.first().map(|field| Kind::of(field.data_type())) {
        Some(Some(kind)) => Ok(kind),
        _ => plan_err!("{function}: the first argument must hold labels (text, integers or booleans)"),
    }
}

/// The lists of row `row` of each state column, where none is NULL.
pub(super) fn state_lists<const K: usize>(function: &str, states: &[ArrayRef]) -> Result<Vec<[ArrayRef; K]>> {
    let lists: Vec<_> = states.iter().filter_map(|state| state.as_list_opt::<i32>()).collect();
    let Ok(lists) = <[_; K]>::try_from(lists) else {
        return exec_err!(
            "{function}: invalid partial state: expected {K} list columns. Run the same version of Tusk on every node"
        );
    };
    let mut rows = Vec::with_capacity(lists[0].len());
    for row in 0..lists.iter().map(|list| list.len()).min().unwrap_or(0) {
        if lists.iter().any(|list| list.is_null(row)) {
            continue;
        }
        let values = lists.map(|list| list.value(row));
        if values.iter().any(|value| value.len() != values[0].len()) {
            return exec_err!("{function}: invalid partial state: lists differ in length");
        }
        rows.push(values);
    }
    Ok(rows)
}

/// Counts of (truth, predicted) pairs.
#[derive(Debug)]
struct PairAccumulator {
    metric: PairMetric,
    positive: Option<Label>,
    kind: Kind,
    labels: Interner,
    /// Counts by label numbers.
    counts: HashMap<(u32, u32), u64>,
}

impl PairAccumulator {
    /// Returns the numbers of both labels of each row without NULLs.
    fn pairs(&mut self, truth: &ArrayRef, predicted: &ArrayRef) -> Result<Vec<Option<(u32, u32)>>> {
        let function = self.metric.name();
        let truth = self.labels.intern(function, &LabelColumn::try_new(function, truth)?)?;
        let predicted = self.labels.intern(function, &LabelColumn::try_new(function, predicted)?)?;
        Ok(truth.into_iter().zip(predicted).map(|(truth, predicted)| truth.zip(predicted)).collect())
    }

    fn add(&mut self, pair: (u32, u32), rows: u64) -> Result<()> {
        if let Some(count) = self.counts.get_mut(&pair) {
            *count = count.saturating_add(rows);
            return Ok(());
        }
        if self.counts.len() >= LABELS_MAX {
            let function = self.metric.name();
            return exec_err!(
                "{function}: more than {LABELS_MAX} distinct pairs; check that both arguments are label columns"
            );
        }
        self.counts.insert(pair, rows);
        Ok(())
    }

    /// Returns every pair with its count, ordered by truth and then by prediction.
    fn sorted(&self) -> Vec<(&Label, &Label, u64)> {
        let label = |number| self.labels.label(number);
        let named = self.counts.iter().filter_map(|(&(t, p), &count)| Some((label(t)?, label(p)?, count)));
        let mut pairs: Vec<_> = named.collect();
        pairs.sort_unstable();
        pairs
    }

    fn value_of_class(&self, pairs: &[(&Label, &Label, u64)]) -> Option<f64> {
        let classes = classes(pairs);
        let positive = match &self.positive {
            Some(positive) => Some(positive),
            None => match default_positive(&classes) {
                Positive::Label(label) => Some(label),
                Positive::Average => None,
                Positive::Unknown => return None,
            },
        };
        let Some(positive) = positive else {
            let counts = multi(&classes, pairs);
            return match self.metric {
                PairMetric::Precision => counts.macro_precision(),
                PairMetric::Recall => counts.macro_recall(),
                PairMetric::F1 => counts.macro_f1(),
                PairMetric::Accuracy | PairMetric::Matrix => None,
            };
        };
        let mut counts = Confusion::default();
        for (truth, predicted, rows) in pairs {
            counts.add(*truth == positive, *predicted == positive, *rows);
        }
        match self.metric {
            PairMetric::Precision => counts.precision(),
            PairMetric::Recall => counts.recall(),
            PairMetric::F1 => counts.f1(),
            PairMetric::Accuracy | PairMetric::Matrix => None,
        }
    }
}

impl Accumulator for PairAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [truth, predicted, ..] = values else {
            return exec_err!("{}: expected two label columns", self.metric.name());
        };
        for pair in self.pairs(truth, predicted)?.into_iter().flatten() {
            self.add(pair, 1)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for [truth, predicted, counts] in state_lists(self.metric.name(), states)? {
            let pairs = self.pairs(&truth, &predicted)?;
            let Some(counts) = counts.as_primitive_opt::<Int64Type>() else {
                return exec_err!("{}: invalid partial state: counts must be Int64", self.metric.name());
            };
            for (pair, rows) in pairs.into_iter().zip(counts) {
                if let (Some(pair), Some(rows)) = (pair, rows.and_then(|rows| u64::try_from(rows).ok())) {
                    self.add(pair, rows)?;
                }
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let pairs = self.sorted();
        let columns = [
            label_array(self.kind, pairs.iter().map(|(truth, ..)| *truth)),
            label_array(self.kind, pairs.iter().map(|(_, predicted, _)| *predicted)),
            count_array(&pairs),
        ];
        Ok(columns.map(|column| SingleRowListArrayBuilder::new(column).build_list_scalar()).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let pairs = self.sorted();
        match self.metric {
            PairMetric::Matrix => matrix(&pairs),
            PairMetric::Accuracy => Ok(ScalarValue::Float64(multi(&classes(&pairs), &pairs).accuracy())),
            PairMetric::Precision | PairMetric::Recall | PairMetric::F1 => {
                Ok(ScalarValue::Float64(self.value_of_class(&pairs)))
            }
        }
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [truth, predicted, ..] = values else {
            return exec_err!("{}: expected two label columns", self.metric.name());
        };
        for pair in self.pairs(truth, predicted)?.into_iter().flatten() {
            if let Some(count) = self.counts.get_mut(&pair) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&pair);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.labels.heap_bytes() + self.counts.capacity() * (size_of::<((u32, u32), u64)>() + 2)
    }
}

/// The default positive class of precision, recall and f1.
enum Positive<'a> {
    Label(&'a Label),
    /// There are several classes: the macro average over all.
    Average,
    /// There are fewer than two labels, so the positive class is unknown.
    Unknown,
}

fn default_positive<'a>(classes: &[&'a Label]) -> Positive<'a> {
    const ZERO_OR_ONE: [Label; 2] = [Label::Integer(0), Label::Integer(1)];
    match classes {
        [] => Positive::Unknown,
        [Label::Boolean(_), ..] => Positive::Label(&Label::Boolean(true)),
        flags if flags.iter().all(|label| ZERO_OR_ONE.contains(label)) => Positive::Label(&Label::Integer(1)),
        [_] => Positive::Unknown,
        [_, last] => Positive::Label(last),
        _ => Positive::Average,
    }
}

/// Returns the distinct labels of both arguments, sorted.
fn classes<'a>(pairs: &[(&'a Label, &'a Label, u64)]) -> Vec<&'a Label> {
    let mut classes: Vec<&Label> = pairs.iter().flat_map(|(truth, predicted, _)| [*truth, *predicted]).collect();
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn multi(classes: &[&Label], pairs: &[(&Label, &Label, u64)]) -> MultiConfusion {
    let index: BTreeMap<&Label, usize> = classes.iter().enumerate().map(|(index, label)| (*label, index)).collect();
    let mut counts = MultiConfusion::new(classes.len());
    for (truth, predicted, rows) in pairs {
        if let (Some(&truth), Some(&predicted)) = (index.get(truth), index.get(predicted)) {
            counts.add(truth, predicted, *rows);
        }
    }
    counts
}

fn matrix(pairs: &[(&Label, &Label, u64)]) -> Result<ScalarValue> {
    if pairs.is_empty() {
        return ScalarValue::try_from(PairMetric::Matrix.return_type());
    }
    let truth = StringArray::from_iter_values(pairs.iter().map(|(truth, ..)| truth.to_string()));
    let predicted = StringArray::from_iter_values(pairs.iter().map(|(_, predicted, _)| predicted.to_string()));
    let columns: Vec<ArrayRef> = vec![Arc::new(truth), Arc::new(predicted), count_array(pairs)];
    let rows = StructArray::try_new(matrix_fields(), columns, None)?;
    Ok(SingleRowListArrayBuilder::new(Arc::new(rows)).build_list_scalar())
}

fn count_array(pairs: &[(&Label, &Label, u64)]) -> ArrayRef {
    let counts = pairs.iter().map(|(_, _, count)| i64::try_from(*count).unwrap_or(i64::MAX));
    Arc::new(Int64Array::from_iter_values(counts))
}
