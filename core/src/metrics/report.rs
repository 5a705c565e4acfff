//! The stored metrics of a model, with intervals.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Interval;
use super::definitions::{INTERVALS, Metric, with_interval};

/// The metrics of a classifier on a set of rows: those of [`super::METRICS`] that have an interval.
///
/// In JSON it is an object with `rows` and a field for each metric, by its name. Metrics that are missing in an older
/// report are undefined.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// Number of rows. 0 if the slices did not fit together, in which case no metric is defined.
    pub rows: u64,
    intervals: [Interval; INTERVALS],
}

impl Report {
    pub(super) fn new(rows: usize, intervals: [Interval; INTERVALS]) -> Self {
        Self { rows: rows as u64, intervals }
    }

    /// The metrics, in the order of [`super::METRICS`].
    pub fn metrics(&self) -> impl Iterator<Item = (&'static Metric, Interval)> {
        with_interval().zip(self.intervals)
    }

    /// Returns one of the metrics. It is undefined if the metric has no interval.
    #[must_use]
    pub fn metric(&self, metric: &Metric) -> Interval {
        let mut intervals = self.metrics();
        intervals.find(|(known, _)| known.name == metric.name).map(|(_, interval)| interval).unwrap_or_default()
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + INTERVALS))?;
        map.serialize_entry("rows", &self.rows)?;
        for (metric, interval) in self.metrics() {
            map.serialize_entry(metric.name, &interval)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Report {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// Reads the fields of a [`Report`].
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Report;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report: rows, and intervals by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Report, A::Error> {
        let (mut rows, mut intervals) = (None, [Interval::default(); INTERVALS]);
        while let Some(name) = map.next_key::<String>()? {
            let known = with_interval().position(|metric| metric.name == name);
            match known.and_then(|place| intervals.get_mut(place)) {
                Some(interval) => *interval = map.next_value()?,
                None if name == "rows" => rows = Some(map.next_value()?),
                None => {
                    let IgnoredAny = map.next_value()?;
                }
            }
        }
        Ok(Report { rows: rows.ok_or_else(|| serde::de::Error::missing_field("rows"))?, intervals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::definitions::{accuracy, log_loss, roc_auc};
    use crate::metrics::evaluate_binary;

    fn report() -> Report {
        evaluate_binary(&[true, false, true, false], &[0.9, 0.2, 0.4, 0.6], None, 0.5, 1, 20)
    }

    #[test]
    fn a_report_survives_json() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    }

    #[test]
    fn the_json_of_a_report_has_rows_and_a_field_per_metric_in_order() {
        let text = serde_json::to_string(&Report::default()).unwrap();
        let field =
            |(metric, _): (&Metric, Interval)| format!(r#","{}":{{"value":null,"low":null,"high":null}}"#, metric.name);
        let fields: String = Report::default().metrics().map(field).collect();
        assert_eq!(text, format!(r#"{{"rows":0{fields}}}"#));
        // Stored models have these metrics.
        for name in ["accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "roc_auc", "log_loss"]
        {
            assert!(text.contains(&format!(r#""{name}":{{"#)), "{name} is not in {text}");
        }
    }

    #[test]
    fn reports_with_missing_and_unknown_metrics_are_read() {
        let text = r#"{"later":{"value":0.1},"rows":4,"accuracy":{"value":0.5,"low":0.25,"high":null},"odd":[1]}"#;
        let read: Report = serde_json::from_str(text).unwrap();
        assert_eq!(read.rows, 4);
        assert_eq!(read.metric(&accuracy::METRIC), Interval { value: Some(0.5), low: Some(0.25), high: None });
        assert_eq!(read.metric(&roc_auc::METRIC), Interval::default());
        assert!(report().metric(&log_loss::METRIC).value.is_some());
        assert!(serde_json::from_str::<Report>("{}").unwrap_err().to_string().contains("rows"));
        assert!(serde_json::from_str::<Report>(r#"{"rows":1,"f1":3}"#).is_err());
    }
}
