//! Tests of image columns in every layout.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use arrow::buffer::NullBuffer;
use image::ImageFormat;

use super::super::testing::{drawn, written};
use super::*;

/// A struct column of one row in Spark's schema.
fn spark(height: i32, width: i32, channels: i32, mode: i32, data: &[u8]) -> StructArray {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["file:/a.png"])),
        Arc::new(Int32Array::from(vec![height])),
        Arc::new(Int32Array::from(vec![width])),
        Arc::new(Int32Array::from(vec![channels])),
        Arc::new(Int32Array::from(vec![mode])),
        Arc::new(BinaryArray::from(vec![data])),
    ];
    StructArray::new(image_struct_fields(), columns, None)
}

fn error_of(array: &StructArray) -> String {
    ImageColumn::try_new(array).unwrap().pixels(0, Channels::Grey).unwrap_err().to_string()
}

#[test]
fn every_layout_of_encoded_bytes_gives_the_same_pixels() {
    let png = written(&drawn(), ImageFormat::Png);
    let rows = vec![Some(png.as_slice()), None];
    let arrays: [ArrayRef; 3] = [
        Arc::new(BinaryArray::from_opt_vec(rows.clone())),
        Arc::new(LargeBinaryArray::from_opt_vec(rows.clone())),
        Arc::new(rows.into_iter().collect::<BinaryViewArray>()),
    ];
    for array in &arrays {
        assert!(is_image_type(array.data_type()));
        let images = ImageColumn::try_new(array).unwrap();
        assert_eq!(images.len(), 2);
        assert_eq!(images.pixels(0, Channels::Rgb).unwrap().data, drawn().into_bytes());
        assert_eq!(images.content(0), png);
        assert_eq!(images.info(0).unwrap().format, "png");
        for beyond in [1, 2, 99] {
            assert!(images.is_null(beyond));
            assert_eq!(images.pixels(beyond, Channels::Grey), Err(DecodeError::Null));
            assert!(images.content(beyond).is_empty());
        }
    }
}

#[test]
fn a_spark_image_is_read_as_blue_green_red() {
    let array = spark(1, 2, 3, 16, &[3, 2, 1, 30, 20, 10]);
    assert!(is_image_type(array.data_type()));
    let images = ImageColumn::try_new(&array).unwrap();
    assert_eq!(images.pixels(0, Channels::Rgb).unwrap().data, [1, 2, 3, 10, 20, 30]);
    assert_eq!(images.origin(0), Some("file:/a.png"));
    assert_eq!(images.content(0), [3, 2, 1, 30, 20, 10]);
    let expected =
        ImageInfo { width: 2, height: 1, channels: 3, bit_depth: 8, frames: 1, format: "raw", quality: None };
    assert_eq!(images.info(0).unwrap(), expected);

    let grey = spark(2, 1, 1, 0, &[7, 8]);
    let pixels = ImageColumn::try_new(&grey).unwrap().pixels_as_stored(0).unwrap();
    assert_eq!(pixels, Pixels { width: 1, height: 2, channels: Channels::Grey, data: vec![7, 8] });

    let alpha = spark(1, 1, 4, 24, &[30, 20, 10, 0]);
    assert_eq!(ImageColumn::try_new(&alpha).unwrap().pixels(0, Channels::Rgb).unwrap().data, [0, 0, 0]);
}

#[test]
fn a_struct_with_other_integer_widths_and_without_mode_is_accepted() {
    let fields = vec![
        Field::new("data", DataType::BinaryView, false),
        Field::new("height", DataType::Int64, false),
        Field::new("width", DataType::UInt16, false),
        Field::new("nChannels", DataType::Int8, false),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryViewArray::from(vec![&[5_u8, 6][..]])),
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(arrow::array::UInt16Array::from(vec![2])),
        Arc::new(arrow::array::Int8Array::from(vec![1])),
    ];
    let array = StructArray::new(fields.into(), columns, None);
    assert_eq!(ImageColumn::try_new(&array).unwrap().pixels(0, Channels::Grey).unwrap().data, [5, 6]);
}

#[test]
fn a_struct_whose_fields_contradict_each_other_is_refused_with_its_reason() {
    let prefix = "invalid image struct: ";
    for (array, reason) in [
        (spark(2, 2, 1, 0, &[1, 2, 3]), "data has 3 bytes, but height 2 x width 2 x nChannels 1 = 4"),
        (spark(0, 2, 1, 0, &[]), "height must be positive, got 0"),
        (spark(1, -5, 1, 0, &[1]), "width must be positive, got -5"),
        (spark(1, 1, 2, 8, &[1, 2]), "nChannels must be 1, 3 or 4, got 2"),
        (
            spark(1, 1, 3, 21, &[1, 2, 3]),
            "mode 21 does not match 3 8-bit channels; supported are 0 (CV_8UC1), 16 (CV_8UC3) and 24 (CV_8UC4)",
        ),
        (spark(-1, -1, -1, -1, &[]), "Spark could not read this file and marked it with nChannels -1"),
    ] {
        assert_eq!(error_of(&array), format!("{prefix}{reason}"));
    }
    let huge = spark(i32::MAX, i32::MAX, 1, 0, &[1]);
    assert!(error_of(&huge).contains("declares 2147483647 x 2147483647 pixels"));
}

#[test]
fn a_null_struct_is_null_even_if_its_fields_are_not() {
    let valid = spark(1, 1, 1, 0, &[9]);
    let (fields, columns, _) = valid.into_parts();
    let array = StructArray::new(fields, columns, Some(NullBuffer::from(vec![false])));
    let images = ImageColumn::try_new(&array).unwrap();
    assert!(images.is_null(0));
    assert!(images.content(0).is_empty());
    assert_eq!(images.pixels(0, Channels::Grey), Err(DecodeError::Null));
}

#[test]
fn the_error_for_a_column_of_another_type_lists_the_accepted_types() {
    let text = StringArray::from(vec!["a.jpeg"]);
    assert!(!is_image_type(text.data_type()));
    let message = ImageColumn::try_new(&text).unwrap_err().to_string();
    assert_eq!(message, format!("a column of type Utf8 cannot hold images; {}", accepted_image_types()));

    let fields = Fields::from(vec![Field::new("data", DataType::Binary, true)]);
    let array = StructArray::new(fields, vec![Arc::new(BinaryArray::from(vec![&b"x"[..]]))], None);
    assert!(!is_image_type(array.data_type()));
    let message = ImageColumn::try_new(&array).unwrap_err().to_string();
    assert!(
        message.starts_with("the image struct's field 'height' is missing; an image is encoded bytes"),
        "{message}"
    );
}
