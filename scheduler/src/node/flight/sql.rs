//! The calls of Flight SQL.

use std::pin::Pin;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse};
use arrow_flight::{IpcMessage, SchemaAsIpc, Ticket};
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::ScalarValue;
use futures::future::BoxFuture;
use futures::{Stream, TryStreamExt, stream};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tusk_core::protocol::parameters::PUSH_TYPE_URL;
use tusk_core::protocol::{EVENTS_HEADER, RunStarted};

use super::sessions::Prepared;
use super::stream::{DataStream, of_batch, of_results, status_of};
use super::{TuskFlight, metadata, plan_of};
use crate::access::users::Identity;
use crate::session::Session;
use crate::statements::Statement;

/// The maximum number of rows of parameters that are bound to a prepared statement at once.
const PARAMETER_ROWS_MAX: usize = 1;

type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type InfoResponse = Result<Response<FlightInfo>, Status>;
type DataResponse = Result<Response<DataStream>, Status>;

/// Returns where rows are fetched: from this server, with this ticket.
fn info(schema: &Schema, ticket: &impl ProstMessageExt, descriptor: FlightDescriptor) -> InfoResponse {
    let ticket = Ticket::new(ticket.as_any().encode_to_vec());
    let info = FlightInfo::new().try_with_schema(schema).map_err(|e| Status::internal(e.to_string()))?;
    let endpoint = FlightEndpoint::new().with_ticket(ticket);
    Ok(Response::new(info.with_descriptor(descriptor).with_endpoint(endpoint)))
}

fn schema_bytes(schema: &Schema) -> Result<bytes::Bytes, Status> {
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    Ok(message.map_err(|e| Status::internal(e.to_string()))?.0)
}

fn handle_of(bytes: &[u8]) -> Result<String, Status> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Status::invalid_argument("the statement's handle is not UTF-8"))
}

fn wants_events(metadata: &MetadataMap) -> bool {
    metadata.contains_key(EVENTS_HEADER)
}

impl TuskFlight {
    /// Starts a statement. Returns where its rows are fetched, and the run whose epochs they are, if it starts one.
    async fn run(
        &self,
        identity: &Identity,
        statement: Statement,
        parameters: Vec<ScalarValue>,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        let (results, events) = self.start(identity, statement, parameters, wants_events(request.metadata())).await?;
        let schema = results.schema();
        let run = results.model().map(|model| serde_json::to_vec(&RunStarted { model: model.clone() })).transpose();
        let run = run.map_err(|e| Status::internal(e.to_string()))?.unwrap_or_default();
        let handle = self.sessions.keep(&identity.session, results, events)?;
        let ticket = TicketStatementQuery { statement_handle: handle.into() };
        let info = info(&schema, &ticket, request.into_inner())?.into_inner();
        Ok(Response::new(info.with_app_metadata(run)))
    }

    /// Runs a statement to its end, for clients that do not fetch its rows. Returns the number of rows.
    async fn run_to_end(
        &self,
        identity: &Identity,
        statement: Statement,
        parameters: Vec<ScalarValue>,
    ) -> Result<i64, Status> {
        let (mut results, _) = self.start(identity, statement, parameters, false).await?;
        let mut rows = 0;
        while let Some(batch) = results.next().await.map_err(status_of)? {
            rows += batch.num_rows() as i64;
        }
        Ok(rows)
    }

    /// Returns the columns of a statement's rows and of its parameters, without running it.
    fn describe<'a>(
        &'a self,
        identity: &'a Identity,
        statement: &'a Statement,
    ) -> BoxFuture<'a, Result<(Schema, Schema), Status>> {
        Box::pin(async move {
            let session = self.session(identity).await?;
            match statement {
                Statement::Model(statement) => Ok((statement.schema().as_ref().clone(), Schema::empty())),
                Statement::DataFusion(_) => {
                    let plan = plan_of(&session, statement.clone()).await?;
                    Ok((plan.schema().as_arrow().clone(), metadata::parameter_schema(&plan)?))
                }
            }
        })
    }

    async fn metadata_session(&self, extensions: &tonic::Extensions) -> Result<Session, Status> {
        self.session(&Self::identity(extensions)?).await
    }
}

/// Returns no rows, for calls about keys: DataFusion's tables have none.
fn no_rows(schema: std::sync::Arc<Schema>) -> DataResponse {
    let rows = FlightDataEncoderBuilder::new().with_schema(schema).build(stream::empty::<Result<_, FlightError>>());
    Ok(Response::new(Box::pin(rows.map_err(|e| Status::internal(e.to_string())))))
}

#[tonic::async_trait]
impl FlightSqlService for TuskFlight {
    type FlightService = TuskFlight;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<HandshakeStream>, Status> {
        let token = self.log_in(request.metadata()).await?;
        let payload = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let responses: HandshakeStream = Box::pin(stream::once(async move { Ok(payload) }));
        let mut response = Response::new(responses);
        let header = format!("Bearer {token}").parse().map_err(|_| Status::internal("the token is not a header"))?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        let identity = Self::identity(request.extensions())?;
        let statement = Self::statement(&identity, &query.query)?;
        self.run(&identity, statement, Vec::new(), request).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&query.prepared_statement_handle)?;
        let prepared = self.sessions.prepared(&identity.session, &handle)?;
        self.run(&identity, prepared.statement, prepared.parameters, request).await
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> DataResponse {
        let identity = Self::identity(request.extensions())?;
        let rows = self.sessions.take(&identity.session, &handle_of(&ticket.statement_handle)?)?;
        Ok(Response::new(of_results(rows.results, rows.events, self.ending.clone())))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let identity = Self::identity(request.extensions())?;
        let statement = Self::statement(&identity, &command.query)?;
        self.run_to_end(&identity, statement, Vec::new()).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&command.prepared_statement_handle)?;
        let prepared = self.sessions.prepared(&identity.session, &handle)?;
        self.run_to_end(&identity, prepared.statement, prepared.parameters).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&command.prepared_statement_handle)?;
        let rows = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(rows);
        let mut parameters = Vec::new();
        let mut count = 0;
        while let Some(batch) = batches.try_next().await.map_err(|e| Status::invalid_argument(e.to_string()))? {
            count += batch.num_rows();
            if count > PARAMETER_ROWS_MAX {
                return Err(Status::unimplemented("bind one row of parameters at a time"));
            }
            if batch.num_rows() == 1 {
                let values = batch.columns().iter().map(|column| ScalarValue::try_from_array(column, 0));
                parameters = values.collect::<Result<_, _>>().map_err(|e| status_of(e.into()))?;
            }
        }
        self.sessions.bind(&identity.session, &handle, parameters)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(command.prepared_statement_handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let identity = Self::identity(request.extensions())?;
        let statement = Self::statement(&identity, &query.query)?;
        let (rows, parameters) = self.describe(&identity, &statement).await?;
        let prepared = Prepared { statement, parameters: Vec::new() };
        let handle = self.sessions.prepare(&identity.session, prepared)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: schema_bytes(&rows)?,
            parameter_schema: schema_bytes(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let identity = Self::identity(request.extensions())?;
        self.sessions.close_prepared(&identity.session, &handle_of(&query.prepared_statement_handle)?);
        Ok(())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> DataResponse {
        Ok(of_batch(metadata::catalogs(self.metadata_session(request.extensions()).await?.local(), query)?))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> DataResponse {
        Ok(of_batch(metadata::schemas(self.metadata_session(request.extensions()).await?.local(), query)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> DataResponse {
        Ok(of_batch(metadata::tables(&self.metadata_session(request.extensions()).await?, query).await?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _request: Request<Ticket>) -> DataResponse {
        Ok(of_batch(metadata::table_types(query)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.clone().into_builder(&self.sql_info).schema(), &query, request.into_inner())
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _request: Request<Ticket>) -> DataResponse {
        let batch = query.into_builder(&self.sql_info).build();
        Ok(of_batch(batch.map_err(|e| Status::internal(e.to_string()))?))
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&query.into_builder(&self.type_info).schema(), &query, request.into_inner())
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, _request: Request<Ticket>) -> DataResponse {
        let batch = query.into_builder(&self.type_info).build();
        Ok(of_batch(batch.map_err(|e| Status::internal(e.to_string()))?))
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::primary_key_schema(), &query, request.into_inner())
    }

    async fn do_get_primary_keys(&self, _query: CommandGetPrimaryKeys, _request: Request<Ticket>) -> DataResponse {
        no_rows(metadata::primary_key_schema())
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::foreign_key_schema(), &query, request.into_inner())
    }

    async fn do_get_exported_keys(&self, _query: CommandGetExportedKeys, _request: Request<Ticket>) -> DataResponse {
        no_rows(metadata::foreign_key_schema())
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::foreign_key_schema(), &query, request.into_inner())
    }

    async fn do_get_imported_keys(&self, _query: CommandGetImportedKeys, _request: Request<Ticket>) -> DataResponse {
        no_rows(metadata::foreign_key_schema())
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::foreign_key_schema(), &query, request.into_inner())
    }

    async fn do_get_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        _request: Request<Ticket>,
    ) -> DataResponse {
        no_rows(metadata::foreign_key_schema())
    }

    async fn do_get_fallback(&self, request: Request<Ticket>, message: Any) -> DataResponse {
        self.own_ticket(request, message).await
    }

    async fn do_put_fallback(
        &self,
        request: Request<PeekableFlightDataStream>,
        message: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        if message.type_url != PUSH_TYPE_URL {
            return Err(Status::invalid_argument(format!("there is no command '{}'", message.type_url)));
        }
        let pushed = self.training.parameters().do_put(request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream::once(async { Ok(pushed) }))))
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        self.own_action(request).await
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
