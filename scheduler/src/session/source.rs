//! Converts a table or query to the four columns that training reads: image, label, group and name.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, LogicalPlan, cast, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use tusk_core::codec::encode_plan;
use tusk_core::error::nearest;
use tusk_core::options::ModelSpec;
use tusk_core::sql::Source;
use tusk_pixels::{accepted_image_types, is_image_type};
use tusk_udfs::session::physical_codec;

use super::Session;
use super::tables;
use crate::error::Result;

/// The size in bytes above which an encoded plan is assumed to contain rows. These are written to Parquet instead.
const PLAN_BYTES_MAX: usize = 1 << 20;

/// The rows that a statement reads.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The plan that returns them.
    pub plan: LogicalPlan,
    /// Their name in errors.
    pub name: String,
}

impl Rows {
    /// Returns the rows of a source. A query is planned from its syntax tree, without parsing its text again.
    pub(crate) async fn of_source(context: &Session, source: &Source) -> Result<Self> {
        let state = context.local().state();
        Ok(match source {
            Source::Table(table) => {
                let plan = state.create_logical_plan(&format!("SELECT * FROM {table}")).await?;
                Self { plan, name: table.to_string() }
            }
            Source::Query(query) => {
                let statement = DfStatement::Statement(Box::new(SqlStatement::Query(query.clone())));
                Self { plan: state.statement_to_plan(statement).await?, name: "the query".to_owned() }
            }
        })
    }

    /// Returns a column by its name. Ignores case if no name is equal and only one is equal except for case.
    pub(crate) fn column(&self, option: &str, name: &str) -> Result<Expr> {
        Ok(Expr::Column(Column::from_name(self.field_name(option, name)?)))
    }

    /// Returns the type of a column.
    fn data_type(&self, option: &str, name: &str) -> Result<DataType> {
        let name = self.field_name(option, name)?;
        let schema: &Schema = self.plan.schema().as_arrow();
        let field = schema.field_with_name(&name).map_err(datafusion::error::DataFusionError::from)?;
        Ok(field.data_type().clone())
    }

    fn field_name(&self, option: &str, name: &str) -> Result<String> {
        let names: Vec<&String> = self.plan.schema().fields().iter().map(|field| field.name()).collect();
        if let Some(exact) = names.iter().find(|n| **n == name) {
            return Ok((*exact).clone());
        }
        let alike: Vec<&&String> = names.iter().filter(|n| n.eq_ignore_ascii_case(name)).collect();
        if let [one] = alike.as_slice() {
            return Ok((**one).clone());
        }
        let listed = names.iter().map(|n| n.as_str()).collect::<Vec<_>>();
        let suggestion = nearest(name, listed.iter().copied()).map(|n| format!("; did you mean '{n}'?"));
        let message = format!(
            "{} has no column '{name}'{} Its columns are {}. Use OPTIONS (\"{option}\" = '...') for another",
            self.name,
            suggestion.as_deref().unwrap_or("."),
            listed.join(", ")
        );
        Err(tusk_core::Error::Data { message }.into())
    }

    /// Returns the label as text.
    pub(crate) fn label(&self, spec: &ModelSpec) -> Result<Expr> {
        let data_type = self.data_type("label", &spec.data.label)?;
        let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let is_dictionary = matches!(&data_type, DataType::Dictionary(..));
        if !(is_text || is_dictionary || data_type.is_integer() || data_type == DataType::Boolean) {
            let message = format!(
                "column '{}' of {} has type {data_type}; a label must be text, a whole number or a boolean",
                spec.data.label, self.name
            );
            return Err(tusk_core::Error::Data { message }.into());
        }
        Ok(cast(self.column("label", &spec.data.label)?, DataType::Utf8))
    }

    /// Returns the image column, after a check of its type.
    ///
    /// # Errors
    /// Returns an error if the column does not exist or does not contain images.
    pub fn image(&self, spec: &ModelSpec) -> Result<Expr> {
        let data_type = self.data_type("image", &spec.data.image)?;
        if !is_image_type(&data_type) {
            let message =
                format!("column '{}' of {} is {data_type}; {}", spec.data.image, self.name, accepted_image_types());
            return Err(tusk_core::Error::Data { message }.into());
        }
        self.column("image", &spec.data.image)
    }

    /// Returns the group as text, or NULL if no group is set.
    pub(crate) fn group(&self, spec: &ModelSpec) -> Result<Expr> {
        match &spec.data.group {
            Some(group) => Ok(cast(self.column("group", group)?, DataType::Utf8)),
            None => Ok(lit(ScalarValue::Utf8(None))),
        }
    }

    /// Returns the physical plan whose rows training reads.
    pub(super) async fn training_plan(&self, context: &Session, spec: &ModelSpec) -> Result<Arc<dyn ExecutionPlan>> {
        self.physical_plan(context, [self.image(spec)?, self.label(spec)?, self.group(spec)?]).await
    }

    /// Returns the physical plan of the images, for jobs that need no labels. All rows have the same label, so that no
    /// column of labels is read.
    pub(crate) async fn images_plan(
        &self,
        context: &Session,
        spec: &ModelSpec,
        label: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.physical_plan(context, [self.image(spec)?, lit(label), null_text()]).await
    }

    async fn physical_plan(
        &self,
        context: &Session,
        [image, label, group]: [Expr; 3],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A join may have two columns of this name. Then neither is used.
        let has_path = self.plan.schema().fields().iter().filter(|field| field.name() == "path").count() == 1;
        let name = if has_path { cast(Expr::Column(Column::from_name("path")), DataType::Utf8) } else { null_text() };
        let columns = vec![image.alias("image"), label.alias("label"), group.alias("group"), name.alias("name")];
        let rows = DataFrame::new(context.local().state(), self.plan.clone()).select(columns)?;
        let plan = rows.clone().create_physical_plan().await?;
        let carries_rows = match encode_plan(Arc::clone(&plan), physical_codec().as_ref()) {
            Ok(bytes) => bytes.len() > PLAN_BYTES_MAX,
            Err(_) => true,
        };
        if !carries_rows {
            return Ok(plan);
        }
        let table = tables::materialize(context, "training", rows.into_unoptimized_plan()).await?;
        Ok(context.local().read_table(table)?.create_physical_plan().await?)
    }
}

fn null_text() -> Expr {
    lit(ScalarValue::Utf8(None))
}
