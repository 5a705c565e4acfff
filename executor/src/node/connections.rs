//! Connections to other executors, kept for the next task that fetches rows from there.
//!
//! Ballista has a pool of its own, but keeps it to the engine that it makes itself; an executor with another engine brings
//! its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use tokio::runtime::{Handle, Id};

/// The most connections that are kept to one executor.
const IDLE_PER_EXECUTOR_MAX: usize = 64;

/// Where a connection leads and how, and the runtime that drives it: an executor's process may be started anew, and
/// connections of the runtime before are dead.
type Way = (Id, String, u16, GrpcClientConfig);

/// Connections that nobody uses, the one that was used last behind the others.
type Idle = HashMap<Way, Vec<(Instant, BallistaClient)>>;

/// Keeps connections for as long as they may be idle.
#[derive(Clone)]
pub(crate) struct Connections {
    idle: Arc<Mutex<Idle>>,
    idle_max: Duration,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("idle_max", &self.idle_max).finish_non_exhaustive()
    }
}

impl Connections {
    /// No connections yet.
    pub(crate) fn new(idle_max: Duration) -> Self {
        Self { idle: Arc::default(), idle_max }
    }

    /// The idle connections, without those that were idle for too long.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|(since, _)| since.elapsed() < self.idle_max);
            !connections.is_empty()
        });
        idle
    }

    fn give_back(&self, way: Way, connection: BallistaClient) {
        let mut idle = self.lock();
        let connections = idle.entry(way).or_default();
        if connections.len() < IDLE_PER_EXECUTOR_MAX {
            connections.push((Instant::now(), connection));
        }
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        customize_endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let way: Way = (Handle::current().id(), host.to_owned(), port, config.clone());
        let idle = self.lock().get_mut(&way).and_then(Vec::pop);
        let connection = match idle {
            Some((_, connection)) => connection,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    config.use_tls,
                    customize_endpoint,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let connections = self.clone();
        Ok(PooledClient::new(connection, Box::new(move |connection| connections.give_back(way, connection))))
    }

    async fn evict_idle(&self) {
        drop(self.lock());
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Connections that a port has accepted.
    async fn accepted(idle_max: Duration, wait: Duration) -> usize {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(Mutex::new(Vec::new()));
        let streams = Arc::clone(&count);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                streams.lock().unwrap().push(stream);
            }
        });
        let pool = Connections::new(idle_max);
        for _ in 0..3 {
            let connection = pool.acquire("127.0.0.1", port, &GrpcClientConfig::default(), None).await;
            drop(connection.unwrap());
            tokio::time::sleep(wait).await;
        }
        pool.evict_idle().await;
        // Until the port has accepted the last one, too.
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.abort();
        count.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_was_idle_for_too_long() {
        assert_eq!(accepted(Duration::from_secs(60), Duration::ZERO).await, 1);
        assert_eq!(accepted(Duration::from_millis(1), Duration::from_millis(50)).await, 3);
    }
}
