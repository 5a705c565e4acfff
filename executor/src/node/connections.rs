//! Keeps connections to other executors for the next task that fetches rows from them.
//!
//! Ballista has a connection pool, but only the engine that it creates itself can use it. An executor with another
//! engine needs its own pool.

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

/// The largest number of idle connections to one executor.
const IDLE_PER_EXECUTOR_MAX: usize = 64;

/// The target and settings of a connection, and the runtime that drives it. When Ballista's process is restarted on a
/// new runtime, the connections of the old runtime no longer work.
type Key = (Id, String, u16, GrpcClientConfig);

/// The idle connections with the times since which they are idle. The most recently used connection is the last.
type Idle = HashMap<Key, Vec<(Instant, BallistaClient)>>;

/// A pool that keeps idle connections for a limited time.
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
    /// Creates an empty pool that keeps connections idle for at most `idle_max`.
    pub(crate) fn new(idle_max: Duration) -> Self {
        Self { idle: Arc::default(), idle_max }
    }

    /// Locks the idle connections and closes those that were idle for too long.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|(since, _)| since.elapsed() < self.idle_max);
            !connections.is_empty()
        });
        idle
    }

    fn give_back(&self, key: Key, connection: BallistaClient) {
        let mut idle = self.lock();
        let connections = idle.entry(key).or_default();
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
        let key: Key = (Handle::current().id(), host.to_owned(), port, config.clone());
        let idle = self.lock().get_mut(&key).and_then(Vec::pop);
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
        Ok(PooledClient::new(connection, Box::new(move |connection| connections.give_back(key, connection))))
    }

    async fn evict_idle(&self) {
        drop(self.lock());
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The number of connections that a server accepts for three uses, with a pause after each.
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
        // Gives the server time to accept the last connection.
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.abort();
        count.lock().unwrap().len()
    }

    #[tokio::test]
    async fn a_connection_is_reused_until_it_was_idle_for_too_long() {
        assert_eq!(accepted(Duration::from_secs(60), Duration::ZERO).await, 1);
        assert_eq!(accepted(Duration::from_millis(1), Duration::from_millis(50)).await, 3);
    }
}
