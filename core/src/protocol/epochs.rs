//! The result rows of CREATE MODEL.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// Returns the columns of the rows of CREATE MODEL. Each row is an epoch.
#[must_use]
pub fn epoch_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
        Arc::new(Schema::new(vec![
            field("model", DataType::Utf8, false),
            field("epoch", DataType::UInt32, false),
            field("train_loss", DataType::Float64, false),
            field("val_loss", DataType::Float64, true),
            field("val_accuracy", DataType::Float64, true),
            field("val_roc_auc", DataType::Float64, true),
            field("learning_rate", DataType::Float64, false),
            field("images", DataType::UInt64, false),
            field("skipped", DataType::UInt64, false),
            field("workers", DataType::UInt32, false),
            field("seconds", DataType::Float64, false),
        ]))
    });
    Arc::clone(&SCHEMA)
}
