//! The types and sizes of rows in messages.
//!
//! A dictionary is sent as its values: the dictionary changes from batch to batch, which not all clients read. Other types are
//! sent as they are.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, GenericListArray, OffsetSizeTrait, RecordBatchOptions,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    BinaryType, BinaryViewType, ByteArrayType, ByteViewType, LargeBinaryType, LargeUtf8Type, StringViewType, Utf8Type,
};
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

/// The bytes that a column of views may hold without need, beside a quarter of those that it needs.
const UNUSED_BYTES_MAX: usize = 16 << 10;

/// Returns the columns of a message.
pub(super) fn wire_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(wire_field).collect();
    if fields == *schema.fields() {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn wire_field(field: &FieldRef) -> FieldRef {
    let data_type = wire_type(field.data_type());
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn wire_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => wire_type(values),
        DataType::List(field) => DataType::List(wire_field(field)),
        DataType::LargeList(field) => DataType::LargeList(wire_field(field)),
        DataType::ListView(field) => DataType::ListView(wire_field(field)),
        DataType::LargeListView(field) => DataType::LargeListView(wire_field(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(wire_field(field), *size),
        DataType::Map(field, sorted) => DataType::Map(wire_field(field), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(wire_field).collect()),
        DataType::RunEndEncoded(ends, values) => DataType::RunEndEncoded(Arc::clone(ends), wire_field(values)),
        other => other.clone(),
    }
}

/// Converts rows to the columns of a message.
pub(super) fn wire_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// Returns about how many bytes the rows take in a message.
pub(super) fn bytes_of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| bytes_of(column.as_ref())).sum()
}

/// Returns about how many bytes an array takes in a message. Unlike Arrow's own measures, it counts of a sliced array only
/// the slice, at every depth.
fn bytes_of(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8 => bytes_of_bytes::<Utf8Type>(array),
        DataType::LargeUtf8 => bytes_of_bytes::<LargeUtf8Type>(array),
        DataType::Binary => bytes_of_bytes::<BinaryType>(array),
        DataType::LargeBinary => bytes_of_bytes::<LargeBinaryType>(array),
        DataType::Utf8View => bytes_of_views::<StringViewType>(array),
        DataType::BinaryView => bytes_of_views::<BinaryViewType>(array),
        DataType::List(_) => array.as_list_opt::<i32>().map_or(0, bytes_of_list),
        DataType::LargeList(_) => array.as_list_opt::<i64>().map_or(0, bytes_of_list),
        DataType::FixedSizeList(..) => array.as_fixed_size_list_opt().map_or(0, |list| bytes_of(list.values())),
        DataType::Struct(_) => array
            .as_struct_opt()
            .map_or(0, |fields| fields.columns().iter().map(|column| bytes_of(column.as_ref())).sum()),
        DataType::Map(..) => array.as_map_opt().map_or(0, |map| {
            let (start, len) = span(map.value_offsets());
            size_of_val(map.value_offsets()) + bytes_of(&map.entries().slice(start, len))
        }),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size()),
    }
}

fn bytes_of_bytes<T: ByteArrayType>(array: &dyn Array) -> usize {
    array.as_bytes_opt::<T>().map_or(0, |bytes| size_of_val(bytes.value_offsets()) + span(bytes.value_offsets()).1)
}

fn bytes_of_views<T: ByteViewType>(array: &dyn Array) -> usize {
    array.as_byte_view_opt::<T>().map_or(0, |views| size_of::<u128>() * views.len() + views.total_buffer_bytes_used())
}

fn bytes_of_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> usize {
    let (start, len) = span(list.value_offsets());
    size_of_val(list.value_offsets()) + bytes_of(&list.values().slice(start, len))
}

/// Returns the start and the length of what offsets cover.
fn span<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (first.as_usize(), last.as_usize() - first.as_usize()),
        _ => (0, 0),
    }
}

/// Drops what the columns hold of other rows. A slice of views holds the bytes of the whole array, and all of them are sent.
pub(super) fn compacted(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| {
        let views = column.as_byte_view_opt::<StringViewType>().and_then(compacted_views);
        let views = views.or_else(|| column.as_byte_view_opt::<BinaryViewType>().and_then(compacted_views));
        views.unwrap_or_else(|| Arc::clone(column))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options)
}

fn compacted_views<T: ByteViewType>(views: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    let used = views.total_buffer_bytes_used();
    (held > used + used / 4 + UNUSED_BYTES_MAX).then(|| Arc::new(views.gc()) as ArrayRef)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{DictionaryArray, ListArray, StringViewArray, StructArray};
    use datafusion::arrow::datatypes::{Field, Int32Type};

    use super::*;

    #[test]
    fn dictionaries_are_sent_as_values_at_every_depth_and_other_types_as_they_are() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
        for (data_type, expected) in [
            (dictionary.clone(), DataType::Utf8),
            (DataType::LargeList(item(dictionary.clone())), DataType::LargeList(item(DataType::Utf8))),
            (DataType::LargeList(item(DataType::Int64)), DataType::LargeList(item(DataType::Int64))),
            (DataType::Utf8View, DataType::Utf8View),
        ] {
            assert_eq!(wire_type(&data_type), expected);
        }
        let nested = DataType::Struct(vec![Field::new("d", dictionary, true)].into());
        assert_eq!(wire_type(&nested), DataType::Struct(vec![Field::new("d", DataType::Utf8, true)].into()));
        let words: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("w", Arc::new(words) as ArrayRef)]).unwrap();
        let wire = wire_batch(&batch, &wire_schema(&batch.schema())).unwrap();
        assert_eq!(wire.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn only_the_rows_of_a_slice_are_counted_and_held() {
        let text = "x".repeat(1000);
        let views = StringViewArray::from_iter_values(vec![text.as_str(); 1000]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1); 100]); 1000]);
        let fields = StructArray::try_from(vec![("list", Arc::new(lists) as ArrayRef)]).unwrap();
        let batch =
            RecordBatch::try_from_iter([("v", Arc::new(views) as ArrayRef), ("s", Arc::new(fields) as ArrayRef)]);
        let slice = batch.unwrap().slice(10, 10);
        let bytes = bytes_of_batch(&slice);
        assert!((14_000..15_000).contains(&bytes), "{bytes}");
        let held = |batch: &RecordBatch| -> usize {
            batch.column(0).as_string_view().data_buffers().iter().map(|buffer| buffer.len()).sum()
        };
        assert_eq!((held(&slice), held(&compacted(&slice).unwrap())), (1_000_000, 10_000));
    }
}
