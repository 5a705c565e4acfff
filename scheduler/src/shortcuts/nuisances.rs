//! The nuisances: numbers and words per image that have nothing to do with its subject.

use tusk_core::nuisances::{NuisanceColumn, Nuisances, Value};

use super::sample::{Image, Row};
use super::thumbnail::SIDE;

/// A nuisance.
struct Nuisance {
    /// What the statement calls it.
    name: &'static str,
    /// Returns its value. `None` if the image does not have one.
    value: fn(&Image) -> Option<Value>,
    /// What to do if it tells the classes apart.
    advice: &'static str,
}

/// What to do about another column of the table.
const COLUMN: &str =
    "the classes differ in this column; balance them by it, or report EVALUATE ... OPTIONS (by = ...) for it";

/// What a net does not see: images are decoded and resized first.
const UNSEEN: &str = "the net does not see it, but what it comes with; find out how the classes were collected";
const SHAPE: &str = "train with 'stretch' in augment, as by default, or resize = 'pad' or 'crop'; see also the probes";
const LEVELS: &str = "train with brightness, contrast and gamma in augment, or intensity = 'stretch' or 'clahe'";
const BORDER: &str = "train with 'frame' in augment, as by default, and 'marks', or border_crop";
const DETAIL: &str = "train with 'processing' and 'blur' in augment, as by default, and 'resample'";

/// All nuisances, in the order of the documentation.
const NUISANCES: &[Nuisance] = &[
    Nuisance { name: "width", value: |image| number(image.width), advice: SHAPE },
    Nuisance { name: "height", value: |image| number(image.height), advice: SHAPE },
    Nuisance { name: "width / height", value: |image| number(image.width? / image.height?), advice: SHAPE },
    Nuisance { name: "bytes", value: |image| number(image.bytes), advice: UNSEEN },
    Nuisance {
        name: "bytes per pixel",
        value: |image| number(image.bytes? / (image.width? * image.height?)),
        advice: "save all images again with the same quality; train with 'resave' in augment",
    },
    Nuisance {
        name: "JPEG quality",
        value: |image| number(image.jpeg_quality),
        advice: "save all images again with the lowest quality; train with 'resave' in augment",
    },
    Nuisance { name: "format", value: |image| word(image.format.as_ref()), advice: UNSEEN },
    Nuisance { name: "channels", value: |image| number(image.channels), advice: "train with channels = 1" },
    Nuisance { name: "bit depth", value: |image| number(image.bit_depth), advice: UNSEEN },
    Nuisance { name: "Exif orientation", value: |image| word(image.orientation.as_ref()), advice: UNSEEN },
    Nuisance { name: "Exif make", value: |image| word(image.make.as_ref()), advice: UNSEEN },
    Nuisance { name: "Exif model", value: |image| word(image.model.as_ref()), advice: UNSEEN },
    Nuisance { name: "Exif software", value: |image| word(image.software.as_ref()), advice: UNSEEN },
    Nuisance { name: "Exif resolution", value: |image| number(image.dots_per_inch), advice: UNSEEN },
    Nuisance { name: "mean level", value: |image| number(image.thumbnail.moments().0), advice: LEVELS },
    Nuisance { name: "spread of levels", value: |image| number(image.thumbnail.moments().1), advice: LEVELS },
    Nuisance { name: "border level", value: |image| number(image.thumbnail.mean_where(is_border)), advice: BORDER },
    Nuisance { name: "corner level", value: |image| number(image.thumbnail.mean_where(is_corner)), advice: BORDER },
    Nuisance { name: "sharpness", value: |image| number(sharpness(image)), advice: DETAIL },
];

/// Returns the nuisances of the rows, and the other columns of the table, whose names are `others`. Those of which no image has
/// a value are left out.
pub(super) fn nuisances_of(rows: &[Row], others: &[String]) -> Nuisances {
    let own = NUISANCES.iter().map(|nuisance| NuisanceColumn {
        name: nuisance.name.to_owned(),
        values: rows.iter().map(|row| (nuisance.value)(&row.image)).collect(),
    });
    let mut columns: Vec<NuisanceColumn> = own.collect();
    for (place, name) in others.iter().enumerate() {
        let values: Vec<Option<Value>> = rows.iter().map(|row| row.columns.get(place).cloned().flatten()).collect();
        // `tusk ingest` writes columns of the headers.
        if !columns.iter().take(NUISANCES.len()).any(|own| own.values == values) {
            columns.push(NuisanceColumn { name: format!("column {name}"), values });
        }
    }
    columns.retain(|column| column.values.iter().any(Option::is_some));
    Nuisances { contents: rows.iter().map(|row| row.content).collect(), columns }
}

/// Returns what to do if a nuisance tells the classes apart.
pub(super) fn advice_of(name: &str) -> &'static str {
    NUISANCES.iter().find(|nuisance| nuisance.name == name).map_or(COLUMN, |nuisance| nuisance.advice)
}

fn number(value: impl Into<Option<f64>>) -> Option<Value> {
    value.into().map(Value::Number)
}

fn word(value: Option<&String>) -> Option<Value> {
    value.cloned().map(Value::Word)
}

/// Whether a pixel is within a twentieth of the side from a border.
fn is_border(column: usize, row: usize) -> bool {
    let is_outer = |place: usize| !(SIDE / 20..SIDE - SIDE / 20).contains(&place);
    is_outer(column) || is_outer(row)
}

/// Whether a pixel is within a tenth of the side from both borders of a corner.
fn is_corner(column: usize, row: usize) -> bool {
    let is_outer = |place: usize| !(SIDE / 10..SIDE - SIDE / 10).contains(&place);
    is_outer(column) && is_outer(row)
}

/// The energy of the finest details, as a logarithm.
fn sharpness(image: &Image) -> f64 {
    image.thumbnail.spectrum().iter().take(3).map(|energy| f64::from(*energy)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::thumbnail::Thumbnail;
    use super::*;

    fn row(content: u64, width: f64, make: Option<&str>, columns: Vec<Option<Value>>) -> Row {
        let image = Image {
            width: Some(width),
            height: Some(100.0),
            channels: None,
            bit_depth: None,
            format: Some("jpeg".to_owned()),
            bytes: Some(5000.0),
            jpeg_quality: Some(f64::NAN),
            orientation: None,
            make: make.map(str::to_owned),
            model: None,
            software: None,
            dots_per_inch: None,
            thumbnail: Thumbnail::new(&[9; SIDE * SIDE]).unwrap(),
        };
        Row { label: "a".to_owned(), content, group: content, image, columns }
    }

    #[test]
    fn a_nuisance_has_a_value_per_row_and_is_left_out_if_no_row_has_one() {
        let number = |number: f64| Some(Value::Number(number));
        let rows = [
            row(7, 200.0, Some("Acme"), vec![number(200.0), None, number(3.0)]),
            row(8, 300.0, None, vec![number(300.0), None, None]),
        ];
        let others = ["columns", "empty", "dose"].map(str::to_owned);
        let Nuisances { contents, columns } = nuisances_of(&rows, &others);
        assert_eq!(contents, [7, 8]);
        let of = |name: &str| columns.iter().find(|column| column.name == name);
        assert_eq!(of("width").unwrap().numbers(), [200.0, 300.0]);
        assert_eq!(of("width / height").unwrap().numbers(), [2.0, 3.0]);
        assert_eq!(of("Exif make").unwrap().words(), [Some("Acme"), None]);
        assert_eq!(of("column dose").unwrap().numbers(), [3.0, f64::NEG_INFINITY]);
        // A column with the values of a header, a column without values, and tags that no file has.
        for name in ["column columns", "column empty", "channels", "Exif model", "Exif resolution"] {
            assert!(of(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_nuisance_has_advice_and_other_columns_have_that_of_columns() {
        assert!(NUISANCES.iter().all(|nuisance| advice_of(nuisance.name) == nuisance.advice));
        assert_eq!(advice_of("column width"), COLUMN);
    }
}
