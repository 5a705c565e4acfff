//! Tables of rows that clients send: CommandStatementIngest.

use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::future::BoxFuture;
use futures::stream;
use tonic::Status;

use super::TuskFlight;
use super::incoming::Incoming;
use super::transactions::refuse_request;
use crate::access::users::Identity;
use crate::session::{IfExists, IfMissing, Ingest, Session};
use crate::status::{INVALID_VALUE, PROTOCOL, status_of};

impl TuskFlight {
    /// Stores the rows of a request in a table, and returns their number. Every table of a session is temporary.
    pub(super) fn ingest<'a>(
        &'a self,
        identity: &'a Identity,
        command: CommandStatementIngest,
        request: PeekableFlightDataStream,
    ) -> BoxFuture<'a, Result<i64, Status>> {
        Box::pin(async move {
            Self::require_train(identity)?;
            refuse_request(command.transaction_id.as_ref())?;
            let session = self.session(identity).await?;
            let _in_use = self.sessions.in_use(&identity.session);
            let request_of_table = ingest_of(&session, command)?;
            let rows = rows_of(Incoming::new(request)).await?;
            let count = session.ingest(request_of_table, rows).await.map_err(status_of)?;
            Ok(i64::try_from(count).unwrap_or(i64::MAX))
        })
    }
}

/// Returns what the command asks for.
fn ingest_of(session: &Session, command: CommandStatementIngest) -> Result<Ingest, Status> {
    if let Some(option) = command.options.keys().next() {
        return Err(INVALID_VALUE.status(format!("there is no option '{option}' of ingestion. Leave it out")));
    }
    let definition = command.table_definition_options.unwrap_or_default();
    let (if_missing, if_exists) = (definition.if_not_exist(), definition.if_exists());
    let unspecified =
        || INVALID_VALUE.status("the request does not say what to do if the table exists, or does not exist");
    Ok(Ingest {
        if_missing: match if_missing {
            TableNotExistOption::Create => IfMissing::Create,
            TableNotExistOption::Fail => IfMissing::Fail,
            TableNotExistOption::Unspecified => return Err(unspecified()),
        },
        if_exists: match if_exists {
            TableExistsOption::Append => IfExists::Append,
            TableExistsOption::Replace => IfExists::Replace,
            TableExistsOption::Fail => IfExists::Fail,
            TableExistsOption::Unspecified => return Err(unspecified()),
        },
        table: match (command.catalog, command.schema) {
            _ if command.table.is_empty() => return Err(INVALID_VALUE.status("the table has no name")),
            (None, None) => TableReference::bare(command.table),
            (None, Some(schema)) => TableReference::partial(schema, command.table),
            (Some(catalog), schema) => {
                let current = || session.local().state().config_options().catalog.default_schema.clone();
                TableReference::full(catalog, schema.unwrap_or_else(current), command.table)
            }
        },
    })
}

/// Returns the rows of a request as a stream. It waits for the first of them, which have the columns.
async fn rows_of(mut incoming: Incoming) -> Result<SendableRecordBatchStream, Status> {
    let first = incoming.next().await?;
    let Some(schema) = incoming.schema().cloned() else {
        return Err(PROTOCOL.status("no columns were sent"));
    };
    let rows = stream::try_unfold((first, incoming), |(first, mut incoming)| async move {
        let batch = match first {
            Some(batch) => Ok(Some(batch)),
            None => incoming.next().await,
        };
        match batch {
            Ok(batch) => Ok(batch.map(|batch| (batch, (None, incoming)))),
            Err(status) => {
                let message = format!("the rows did not all arrive: {}", status.message());
                Err(DataFusionError::from(tusk_core::Error::Data { message }))
            }
        }
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
}
