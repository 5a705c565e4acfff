//! Which failures of a store pass by themselves, and how long is waited for that.

use std::error::Error as _;
use std::future::Future;
use std::io::{Error as IoError, ErrorKind};
use std::time::{Duration, Instant};

use object_store::{BackoffConfig, RetryConfig};

/// The most times that one operation is tried.
pub const ATTEMPTS_MAX: u32 = 12;

/// The wait before the second attempt; it doubles from then on.
pub const WAIT_FIRST_MS: u64 = 100;

/// The longest wait between two attempts.
pub const WAIT_MAX_MS: u64 = 10_000;

/// No attempt begins later than this after the first.
pub const TOTAL_MAX_MS: u64 = 60_000;

/// The longest that one attempt may take: a disk across a network can hang for ever.
pub const ATTEMPT_MAX_MS: u64 = 600_000;

/// A silence that is worth a line in the log; a store across HTTP retries its requests meanwhile.
pub const SLOW_MS: u64 = 5_000;

/// EIO, which [`ErrorKind`] has no name for.
const EIO: i32 = 5;

/// ENFILE and EMFILE: too many open files, in the system and in this process.
const TOO_MANY_FILES: [i32; 2] = [23, 24];

/// What happens while an operation is waited for.
#[derive(Debug)]
pub(super) enum Waiting<'a> {
    /// It failed and is tried again after a wait.
    Again { attempt: u32, wait: Duration, error: &'a object_store::Error },
    /// Neither done nor failed for so long.
    Slow { waited: Duration },
}

/// How often and how long an operation is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) attempts: u32,
    pub(super) wait_first: Duration,
    pub(super) wait_max: Duration,
    pub(super) total: Duration,
    pub(super) attempt_max: Duration,
}

/// An operation that failed for good.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) attempts: u32,
    pub(super) error: object_store::Error,
}

impl Patience {
    /// For disks, whose failures come back at once.
    pub(super) fn local() -> Self {
        Self {
            attempts: ATTEMPTS_MAX,
            wait_first: Duration::from_millis(WAIT_FIRST_MS),
            wait_max: Duration::from_millis(WAIT_MAX_MS),
            total: Duration::from_millis(TOTAL_MAX_MS),
            attempt_max: Duration::from_millis(ATTEMPT_MAX_MS),
        }
    }

    /// For stores across HTTP: they retry each request themselves, see [`http_retries`].
    pub(super) fn remote() -> Self {
        Self { attempts: 1, ..Self::local() }
    }

    /// Does the work until it succeeds, fails for good, or there is no patience left. `hears` is told of each wait.
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

/// Whether the same operation may well succeed later: a full disk can be cleared, a network comes back. A missing
/// right or a file in the way stays.
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

/// Whether space is what was missing.
pub(super) fn is_full(error: &object_store::Error) -> bool {
    io_cause(error).is_some_and(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// The system's error at the bottom of a store's.
fn io_cause(error: &object_store::Error) -> Option<&IoError> {
    let mut cause = error.source();
    let mut found = None;
    while let Some(error) = cause {
        found = error.downcast_ref::<IoError>().or(found);
        cause = error.source();
    }
    found
}
