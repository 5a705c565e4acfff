//! Retries of store operations.

use std::error::Error as _;
use std::future::Future;
use std::io::{Error as IoError, ErrorKind};
use std::time::{Duration, Instant};

use object_store::{BackoffConfig, RetryConfig};

/// Maximum number of attempts.
pub const ATTEMPTS_MAX: u32 = 12;

/// The wait before the second attempt. It doubles after each attempt.
pub const WAIT_FIRST_MS: u64 = 100;

/// Maximum wait between two attempts.
pub const WAIT_MAX_MS: u64 = 10_000;

/// Maximum time between the first and the last attempt.
pub const TOTAL_MAX_MS: u64 = 60_000;

/// Time limit of an attempt, because a network disk may not respond.
pub const ATTEMPT_MAX_MS: u64 = 600_000;

/// The time after which a slow operation is logged.
pub const SLOW_MS: u64 = 5_000;

/// EIO, which [`ErrorKind`] has no name for.
const EIO: i32 = 5;

/// ENFILE and EMFILE: too many open files, in the system and in this process.
const TOO_MANY_FILES: [i32; 2] = [23, 24];

/// An event during an operation.
#[derive(Debug)]
pub(super) enum Waiting<'a> {
    /// It failed and is retried after a wait.
    Again { attempt: u32, wait: Duration, error: &'a object_store::Error },
    /// It has been running for this long.
    Slow { waited: Duration },
}

/// A retry policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) attempts: u32,
    pub(super) wait_first: Duration,
    pub(super) wait_max: Duration,
    pub(super) total: Duration,
    pub(super) attempt_max: Duration,
}

/// The final failure of an operation.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) attempts: u32,
    pub(super) error: object_store::Error,
}

impl Patience {
    /// The policy for disks, which fail at once.
    pub(super) fn local() -> Self {
        Self {
            attempts: ATTEMPTS_MAX,
            wait_first: Duration::from_millis(WAIT_FIRST_MS),
            wait_max: Duration::from_millis(WAIT_MAX_MS),
            total: Duration::from_millis(TOTAL_MAX_MS),
            attempt_max: Duration::from_millis(ATTEMPT_MAX_MS),
        }
    }

    /// The policy for HTTP stores, which retry each request themselves, see [`http_retries`].
    pub(super) fn remote() -> Self {
        Self { attempts: 1, ..Self::local() }
    }

    /// Retries the work until it succeeds, fails permanently, or reaches a limit. `hears` is called for each event.
    pub(super) async fn run<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        mut work: impl FnMut() -> F,
        mut hears: impl FnMut(Waiting<'_>),
    ) -> Result<T, Failure> {
        let started = Instant::now();
        let (mut attempts, mut wait) = (0, self.wait_first);
        loop {
            attempts += 1;
            let error = match self.once(work(), &mut hears).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if attempts >= self.attempts || started.elapsed() + wait > self.total || !is_transient(&error) {
                return Err(Failure { attempts, error });
            }
            hears(Waiting::Again { attempt: attempts, wait, error: &error });
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(self.wait_max);
        }
    }

    async fn once<T>(
        &self,
        work: impl Future<Output = object_store::Result<T>>,
        hears: &mut impl FnMut(Waiting<'_>),
    ) -> object_store::Result<T> {
        let (mut work, started) = (std::pin::pin!(work), Instant::now());
        loop {
            let left = self.attempt_max.saturating_sub(started.elapsed());
            match tokio::time::timeout(left.min(Duration::from_millis(SLOW_MS)), &mut work).await {
                Ok(done) => return done,
                Err(_) if started.elapsed() < self.attempt_max => hears(Waiting::Slow { waited: started.elapsed() }),
                Err(_) => {
                    let source = IoError::new(ErrorKind::TimedOut, format!("no answer in {:?}", self.attempt_max));
                    return Err(object_store::Error::Generic { store: "model store", source: Box::new(source) });
                }
            }
        }
    }
}

/// The most times that a request across HTTP is sent again. Their waits are random and short at first: [`ATTEMPTS_MAX`]
/// were used up in five seconds, and a restart of a store takes longer. The time is what limits them.
const HTTP_RETRIES_MAX: usize = 100;

/// The same limits for each request of a store across HTTP.
pub(super) fn http_retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(WAIT_FIRST_MS),
            max_backoff: Duration::from_millis(WAIT_MAX_MS),
            base: 2.0,
        },
        max_retries: HTTP_RETRIES_MAX,
        retry_timeout: Duration::from_millis(TOTAL_MAX_MS),
    }
}

/// Returns whether the operation may succeed later, as after a full disk or a network failure, and unlike after a
/// missing permission.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    io_cause(error).is_some_and(|cause| {
        matches!(
            cause.kind(),
            ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::WouldBlock
                | ErrorKind::Interrupted
                | ErrorKind::TimedOut
                | ErrorKind::ResourceBusy
                | ErrorKind::OutOfMemory
                | ErrorKind::StaleNetworkFileHandle
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionAborted
                | ErrorKind::NotConnected
                | ErrorKind::BrokenPipe
                | ErrorKind::NetworkDown
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
        ) || cause.raw_os_error().is_some_and(|code| code == EIO || TOO_MANY_FILES.contains(&code))
    })
}

/// Returns whether the disk is full.
pub(super) fn is_full(error: &object_store::Error) -> bool {
    io_cause(error).is_some_and(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// Returns the system error inside a store error.
fn io_cause(error: &object_store::Error) -> Option<&IoError> {
    let mut cause = error.source();
    let mut found = None;
    while let Some(error) = cause {
        found = error.downcast_ref::<IoError>().or(found);
        cause = error.source();
    }
    found
}
