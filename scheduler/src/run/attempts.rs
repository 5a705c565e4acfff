//! Retries of jobs that the cluster lost. An epoch is a pure function, so a retry has the same output.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::training::Run;
use crate::error::{Error, Result};
use crate::metrics;

/// Maximum number of attempts of one job. Ballista retries the tasks in each of them.
pub(crate) const ATTEMPTS_MAX: u32 = 6;

/// The wait before the second attempt. It doubles after each attempt.
const FIRST_WAIT_MS: u64 = 500;

/// The longest wait between attempts.
const WAIT_MS_MAX: u64 = 10_000;

/// The attempts of one job.
#[derive(Debug)]
pub(crate) struct Attempts {
    done: u32,
    wait_ms: u64,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { done: 0, wait_ms: FIRST_WAIT_MS }
    }
}

impl Attempts {
    /// Waits until the next attempt. Returns at once if the run is cancelled, because the attempt notices that.
    ///
    /// # Errors
    /// `error` itself if the job was not lost, [`Error::GivenUp`] if it was lost [`ATTEMPTS_MAX`] times.
    pub(crate) async fn after(&mut self, error: Error, cancel: &CancellationToken) -> Result<()> {
        let Error::Lost { phase, reason } = error else { return Err(error) };
        self.done += 1;
        if self.done == ATTEMPTS_MAX {
            return Err(Error::GivenUp { phase, attempts: self.done, reason });
        }
        let (attempt, wait_ms) = (self.done, self.wait_ms);
        tracing::warn!(phase, reason, attempt, attempts_max = ATTEMPTS_MAX, wait_ms, "a job was lost and is retried");
        metrics::JOB_RETRIES.inc();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            () = cancel.cancelled() => {}
        }
        self.wait_ms = (wait_ms * 2).min(WAIT_MS_MAX);
        Ok(())
    }
}

impl Run {
    /// Runs a job, and retries it if the cluster lost it.
    pub(super) async fn retrying<T, F>(&self, job: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(&self.context.cancel, || 0, job).await
    }

    /// Runs a job that continues where it was lost. If it made progress, all attempts are available again.
    pub(super) async fn retrying_while_it_advances<T, F>(
        &self,
        progress: impl Fn() -> u64,
        job: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retry(&self.context.cancel, progress, job).await
    }
}

async fn retry<T, F>(cancel: &CancellationToken, progress: impl Fn() -> u64, job: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let (mut attempts, mut last) = (Attempts::default(), progress());
    loop {
        let error = match job().await {
            Err(error) => error,
            answered => return answered,
        };
        let now = progress();
        if now > last {
            (attempts, last) = (Attempts::default(), now);
        }
        attempts.after(error, cancel).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn lost() -> Error {
        Error::Lost { phase: "training epoch 3".into(), reason: "executor x is gone".into() }
    }

    #[tokio::test]
    async fn a_job_that_is_always_lost_fails_with_the_last_error() {
        let (mut attempts, cancel) = (Attempts { done: 0, wait_ms: 1 }, CancellationToken::new());
        for _ in 1..ATTEMPTS_MAX {
            attempts.after(lost(), &cancel).await.unwrap();
        }
        assert_eq!(attempts.wait_ms, 32);
        let error = attempts.after(lost(), &cancel).await.unwrap_err();
        let expected = "training epoch 3 failed after 6 attempts; the last error: executor x is gone. Check the \
                        executors";
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn a_job_that_fails_by_itself_is_not_retried() {
        let own = Error::Job { phase: "p".into(), reason: "x-ray 7 is bad".into() };
        let outcome = Attempts::default().after(own, &CancellationToken::new()).await;
        assert!(matches!(outcome, Err(Error::Job { .. })));
    }

    #[tokio::test]
    async fn a_job_that_makes_progress_has_all_its_attempts_again() {
        let cancel = CancellationToken::new();
        // No attempt waits.
        cancel.cancel();
        for (advances, expected) in [(0, ATTEMPTS_MAX), (1, ATTEMPTS_MAX), (4, 3 + ATTEMPTS_MAX)] {
            let calls = Cell::new(0);
            let job = || {
                calls.set(calls.get() + 1);
                std::future::ready(Err::<(), _>(lost()))
            };
            let error = retry(&cancel, || u64::from(calls.get().min(advances)), job).await.unwrap_err();
            assert!(matches!(error, Error::GivenUp { attempts: ATTEMPTS_MAX, .. }), "{error}");
            assert_eq!(calls.get(), expected, "{advances} attempts made progress");
        }
        let calls = Cell::new(0);
        let job = || {
            calls.set(calls.get() + 1);
            std::future::ready(if calls.get() < 3 { Err(lost()) } else { Ok(calls.get()) })
        };
        assert_eq!(retry(&cancel, || 0, job).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn cancelling_ends_the_wait() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let mut attempts = Attempts { done: 0, wait_ms: 3_600_000 };
        assert!(attempts.after(lost(), &cancel).await.is_ok());
    }
}
