//! Metadata of the server for drivers: its SQL, its types and its catalog.

use std::sync::Arc;

use arrow_flight::sql::metadata::XdbcTypeInfoDataBuilder;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable, Searchable, SqlInfo,
    SqlSupportedCaseSensitivity, SqlSupportedTransaction, XdbcDataType,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{LogicalPlan, TableType};
use datafusion::prelude::SessionContext;
use tonic::Status;

use super::stream::status_of;
use crate::session::Session;

/// The types of tables and their names in JDBC.
const TABLE_TYPES: [(TableType, &str); 3] =
    [(TableType::Base, "TABLE"), (TableType::View, "VIEW"), (TableType::Temporary, "LOCAL TEMPORARY")];

fn failed(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("failed to build the metadata: {error}"))
}

/// Returns the capabilities of the server.
pub(super) fn sql_info() -> Result<SqlInfoData, Status> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Tusk");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    // The version of Arrow's columnar format.
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    info.append(SqlInfo::FlightSqlServerReadOnly, false);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, false);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, true);
    info.append(SqlInfo::SqlDdlTable, true);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlSchemaTerm, "schema");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.build().map_err(failed)
}

/// Returns the SQL types of result columns.
pub(super) fn type_info() -> Result<XdbcTypeInfoData, Status> {
    let mut info = XdbcTypeInfoDataBuilder::new();
    let types = [
        ("BIGINT", XdbcDataType::XdbcBigint, Some(19)),
        ("BOOLEAN", XdbcDataType::XdbcBit, Some(1)),
        ("DATE", XdbcDataType::XdbcDate, Some(10)),
        ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38)),
        ("DOUBLE", XdbcDataType::XdbcDouble, Some(15)),
        ("INTEGER", XdbcDataType::XdbcInteger, Some(10)),
        ("REAL", XdbcDataType::XdbcFloat, Some(7)),
        ("SMALLINT", XdbcDataType::XdbcSmallint, Some(5)),
        ("TIME", XdbcDataType::XdbcTime, Some(15)),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(29)),
        ("TINYINT", XdbcDataType::XdbcTinyint, Some(3)),
        ("VARBINARY", XdbcDataType::XdbcVarbinary, None),
        ("VARCHAR", XdbcDataType::XdbcVarchar, None),
    ];
    for (name, data_type, column_size) in types {
        info.append(XdbcTypeInfo {
            type_name: name.into(),
            data_type,
            column_size,
            literal_prefix: None,
            literal_suffix: None,
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: false,
            searchable: Searchable::Full,
            unsigned_attribute: None,
            fixed_prec_scale: false,
            auto_increment: None,
            local_type_name: Some(name.into()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: None,
            interval_precision: None,
        });
    }
    info.build().map_err(failed)
}

/// Returns the catalogs of a session.
pub(super) fn catalogs(ctx: &SessionContext, query: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut rows = query.into_builder();
    ctx.catalog_names().into_iter().for_each(|catalog| rows.append(catalog));
    rows.build().map_err(failed)
}

/// Returns the schemas of a session.
pub(super) fn schemas(ctx: &SessionContext, query: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut rows = query.into_builder();
    for name in ctx.catalog_names() {
        let schemas = ctx.catalog(&name).map(|catalog| catalog.schema_names()).unwrap_or_default();
        schemas.iter().for_each(|schema| rows.append(&name, schema));
    }
    rows.build().map_err(failed)
}

/// Returns the tables of a session.
pub(super) async fn tables(session: &Session, query: CommandGetTables) -> Result<RecordBatch, Status> {
    let ctx = session.local();
    let mut rows = query.into_builder();
    for catalog_name in ctx.catalog_names() {
        let Some(catalog) = ctx.catalog(&catalog_name) else { continue };
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            for table_name in schema.table_names() {
                // Skip a table that was dropped in the meantime.
                let Ok(Some(table)) = schema.table(&table_name).await else { continue };
                let kind = TABLE_TYPES.iter().find(|(kind, _)| *kind == table.table_type()).map_or("TABLE", |t| t.1);
                rows.append(&catalog_name, &schema_name, &table_name, kind, table.schema().as_ref()).map_err(failed)?;
            }
        }
    }
    rows.build().map_err(failed)
}

/// Returns the parameters of a plan, in order.
pub(super) fn parameter_schema(plan: &LogicalPlan) -> Result<Schema, Status> {
    let parameters = plan.get_parameter_fields().map_err(|e| status_of(e.into()))?;
    let mut named: Vec<_> = parameters.into_iter().collect();
    named.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX));
    let fields = named.into_iter().map(|(name, field)| match field {
        Some(field) => field.as_ref().clone().with_name(name),
        None => Field::new(name, DataType::Null, true),
    });
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// Returns the types of tables.
pub(super) fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut rows = query.into_builder();
    TABLE_TYPES.iter().for_each(|(_, word)| rows.append(*word));
    rows.build().map_err(failed)
}

fn fields(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, data_type, nullable): &(&str, DataType, bool)| Field::new(*name, data_type.clone(), *nullable);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

/// Returns the columns of GetPrimaryKeys, as defined in FlightSql.proto.
pub(super) fn primary_key_schema() -> SchemaRef {
    fields(&[
        ("catalog_name", DataType::Utf8, true),
        ("db_schema_name", DataType::Utf8, true),
        ("table_name", DataType::Utf8, false),
        ("column_name", DataType::Utf8, false),
        ("key_sequence", DataType::Int32, false),
        ("key_name", DataType::Utf8, true),
    ])
}

/// Returns the columns of GetExportedKeys, GetImportedKeys and GetCrossReference, as defined in FlightSql.proto.
pub(super) fn foreign_key_schema() -> SchemaRef {
    fields(&[
        ("pk_catalog_name", DataType::Utf8, true),
        ("pk_db_schema_name", DataType::Utf8, true),
        ("pk_table_name", DataType::Utf8, false),
        ("pk_column_name", DataType::Utf8, false),
        ("fk_catalog_name", DataType::Utf8, true),
        ("fk_db_schema_name", DataType::Utf8, true),
        ("fk_table_name", DataType::Utf8, false),
        ("fk_column_name", DataType::Utf8, false),
        ("key_sequence", DataType::Int32, false),
        ("fk_key_name", DataType::Utf8, true),
        ("pk_key_name", DataType::Utf8, true),
        ("update_rule", DataType::UInt8, false),
        ("delete_rule", DataType::UInt8, false),
    ])
}
