//! The calls of Flight SQL.

use std::pin::Pin;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionEndTransactionRequest, Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementUpdate, DoPutPreparedStatementResult,
    ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse};
use arrow_flight::{IpcMessage, SchemaAsIpc, Ticket};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use futures::{Stream, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};
use tusk_core::protocol::parameters::PUSH_TYPE_URL;

use super::cancel::until_cancelled;
use super::encode::encoded;
use super::incoming::read_values;
use super::stream::{DataStream, of_batch, of_results};
use super::transactions::{no_transactions, refuse_request};
use super::{TuskFlight, metadata};
use crate::session::Session;
use crate::status::PROTOCOL;

type HandshakeStream = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;
type DataResponse = Result<Response<DataStream>, Status>;

/// Where the rows of a request are fetched.
pub(super) type InfoResponse = Result<Response<FlightInfo>, Status>;

/// Returns where rows are fetched: from this server, with this ticket.
pub(super) fn info(schema: &Schema, ticket: &impl ProstMessageExt, descriptor: FlightDescriptor) -> InfoResponse {
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
    String::from_utf8(bytes.to_vec()).map_err(|_| PROTOCOL.status("the statement's handle is not UTF-8"))
}

impl TuskFlight {
    async fn metadata_session(&self, extensions: &tonic::Extensions) -> Result<Session, Status> {
        self.session(&Self::identity(extensions)?).await
    }
}

/// Returns no rows, for calls about keys: DataFusion's tables have none.
fn no_rows(schema: &SchemaRef) -> DataResponse {
    Ok(Response::new(encoded(schema, stream::empty())))
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
        refuse_request(query.transaction_id.as_ref())?;
        let statement = Self::statement(&identity, &query.query)?;
        self.run(&identity, statement, request).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&query.prepared_statement_handle)?;
        let prepared = self.sessions.prepared(&identity.session, &handle)?;
        self.run(&identity, prepared, request).await
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> DataResponse {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&ticket.statement_handle)?;
        let rows = self.sessions.take(&identity.session, &handle)?;
        let in_use = self.sessions.in_use(&identity.session);
        let fetch = self.fetches.begin(&identity.session, &handle);
        let rows = of_results(rows.results, rows.events, self.ending.clone(), in_use);
        Ok(Response::new(until_cancelled(rows, fetch)))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let identity = Self::identity(request.extensions())?;
        refuse_request(command.transaction_id.as_ref())?;
        let statement = Self::statement(&identity, &command.query)?;
        self.run_to_end(&identity, statement).await
    }

    async fn do_put_statement_ingest(
        &self,
        command: CommandStatementIngest,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let identity = Self::identity(request.extensions())?;
        self.ingest(&identity, command, request.into_inner()).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&command.prepared_statement_handle)?;
        let mut prepared = self.sessions.prepared(&identity.session, &handle)?;
        let values = read_values(request.into_inner()).await?;
        // Some clients send the values here, and some before.
        if values.columns() > 0 {
            prepared.bound = values;
        }
        self.run_to_end(&identity, prepared).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let identity = Self::identity(request.extensions())?;
        let handle = handle_of(&command.prepared_statement_handle)?;
        let values = read_values(request.into_inner()).await?;
        self.sessions.bind(&identity.session, &handle, values)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(command.prepared_statement_handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let identity = Self::identity(request.extensions())?;
        refuse_request(query.transaction_id.as_ref())?;
        let prepared = Self::statement(&identity, &query.query)?;
        let (rows, parameters) = self.describe(&identity, &prepared).await?;
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

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let identity = Self::identity(request.extensions())?;
        let info = FlightInfo::decode(query.info).map_err(|e| PROTOCOL.status(e.to_string()))?;
        // The numbers of both enumerations are the same.
        Ok(ActionCancelQueryResult { result: self.cancel(&identity, &info)? as i32 })
    }

    async fn do_action_begin_transaction(
        &self,
        _query: ActionBeginTransactionRequest,
        _request: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(no_transactions())
    }

    async fn do_action_end_transaction(
        &self,
        _query: ActionEndTransactionRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        Err(no_transactions())
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
        no_rows(&metadata::primary_key_schema())
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::foreign_key_schema(), &query, request.into_inner())
    }

    async fn do_get_exported_keys(&self, _query: CommandGetExportedKeys, _request: Request<Ticket>) -> DataResponse {
        no_rows(&metadata::foreign_key_schema())
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> InfoResponse {
        info(&metadata::foreign_key_schema(), &query, request.into_inner())
    }

    async fn do_get_imported_keys(&self, _query: CommandGetImportedKeys, _request: Request<Ticket>) -> DataResponse {
        no_rows(&metadata::foreign_key_schema())
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
        no_rows(&metadata::foreign_key_schema())
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
            return Err(PROTOCOL.status(format!("there is no command '{}'", message.type_url)));
        }
        let pushed = self.training.parameters().do_put(request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream::once(async { Ok(pushed) }))))
    }

    async fn do_put_error_callback(
        &self,
        _request: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(PROTOCOL.status(match error {
            DoPutError::MissingCommand => {
                "no rows and no columns were sent. Send at least one batch, which may be empty"
            }
            DoPutError::MissingFlightDescriptor => "the first message of the rows has no command",
        }))
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        self.own_action(request).await
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
