//! A session over Flight SQL, as any driver opens it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use async_trait::async_trait;
use datafusion::arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use tonic::transport::{Channel, Endpoint};

use super::{Answer, Refusal, Session};
use crate::say::say;

/// The largest gRPC message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A session over Flight SQL.
pub(crate) struct Flight {
    client: FlightSqlServiceClient<Channel>,
    limit: Duration,
}

impl Flight {
    /// Opens a session on the scheduler that listens on a port of this machine, and runs the statements that begin it.
    pub(crate) async fn open(port: u16, limit: Duration, set_up: &[String]) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.with_context(|| format!("no scheduler answers on port {port}"))?;
        let client = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = FlightSqlServiceClient::new_from_inner(client);
        // The token tells the sessions apart.
        client.set_token(uuid::Uuid::new_v4().simple().to_string());
        let mut session = Self { client, limit };
        for sql in set_up {
            if let Err(refusal) = session.answer(sql).await {
                say(&format!("cluster: set-up failed: {sql}: {refusal}"));
            }
        }
        Ok(session)
    }

    async fn rows(&mut self, sql: &str) -> Result<Answer, FlightError> {
        let info = self.client.execute(sql.to_owned(), None).await?;
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone()).unwrap_or_default();
        let planned = info.try_decode_schema()?;
        let mut rows = self.client.do_get(ticket).await?;
        let mut batches: Vec<RecordBatch> = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            batches.push(batch);
        }
        // The rows' own schema: a dictionary arrives as its values.
        let schema = rows.schema().map_or_else(|| Arc::new(planned), Arc::clone);
        Ok(Answer { schema, batches })
    }
}

#[async_trait]
impl Session for Flight {
    async fn answer(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let limit = self.limit;
        match tokio::time::timeout(limit, self.rows(sql)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(FlightError::Tonic(status))) => Err(Refusal::of_tusk(status.message())),
            Ok(Err(error)) => Err(Refusal::of_tusk(&error.to_string())),
            Err(_) => Err(Refusal::late(limit)),
        }
    }
}
