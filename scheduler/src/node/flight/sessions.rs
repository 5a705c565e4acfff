//! The sessions of SQL clients, with their prepared statements and the rows that are not fetched yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datafusion::common::ScalarValue;
use tokio::sync::mpsc;
use tonic::Status;
use tusk_core::event::RunEvent;

use crate::error::Results;
use crate::metrics;
use crate::session::Session;
use crate::statements::Statement;

/// A session that is not used for this long is closed. Its tables and prepared statements are dropped.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Rows that are not fetched for this long are dropped.
const ROWS_IDLE_MAX: Duration = Duration::from_secs(300);

/// The maximum number of open sessions.
const SESSIONS_MAX: usize = 1024;

/// The maximum number of prepared statements of a session, and of its statements whose rows are not fetched yet.
const STATEMENTS_MAX: usize = 256;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// The values of its parameters, in order.
    pub(super) parameters: Vec<ScalarValue>,
}

/// The rows of a started statement.
pub(super) struct Rows {
    pub(super) results: Results,
    pub(super) events: Option<mpsc::Receiver<RunEvent>>,
    since: Instant,
}

struct Open {
    session: Session,
    used: Instant,
    prepared: HashMap<String, Prepared>,
    rows: HashMap<String, Rows>,
}

/// All sessions of a scheduler.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Open>>,
    /// Locked while a session is opened, so that two requests of one client get the same session.
    opening: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the session of this key. If there is none, opens it with `open`.
    pub(super) async fn get(
        &self,
        key: &str,
        open: impl Future<Output = Result<Session, Status>>,
    ) -> Result<Session, Status> {
        if let Some(session) = self.find(key) {
            return Ok(session);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(session) = self.find(key) {
            return Ok(session);
        }
        self.close_idle();
        if self.lock().len() >= SESSIONS_MAX {
            return Err(Status::resource_exhausted(format!("{SESSIONS_MAX} sessions are open; try again later")));
        }
        let session = open.await?;
        let entry =
            Open { session: session.clone(), used: Instant::now(), prepared: HashMap::new(), rows: HashMap::new() };
        let mut sessions = self.lock();
        sessions.insert(key.to_owned(), entry);
        metrics::SESSIONS.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
        Ok(session)
    }

    fn find(&self, key: &str) -> Option<Session> {
        let mut sessions = self.lock();
        let open = sessions.get_mut(key)?;
        open.used = Instant::now();
        Some(open.session.clone())
    }

    /// Closes idle sessions and drops rows that were not fetched in time. The runs that the sessions started continue.
    pub(super) fn close_idle(&self) {
        let mut sessions = self.lock();
        sessions.retain(|_, open| open.used.elapsed() < SESSION_IDLE_MAX);
        for open in sessions.values_mut() {
            open.rows.retain(|_, rows| rows.since.elapsed() < ROWS_IDLE_MAX);
        }
        metrics::SESSIONS.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
        let waiting: usize = sessions.values().map(|open| open.rows.len()).sum();
        metrics::STATEMENTS_WAITING.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Stores a prepared statement and returns its handle.
    pub(super) fn prepare(&self, key: &str, prepared: Prepared) -> Result<String, Status> {
        self.with(key, |open| {
            if open.prepared.len() >= STATEMENTS_MAX {
                let message = format!("{STATEMENTS_MAX} statements are prepared in this session; close some");
                return Err(Status::resource_exhausted(message));
            }
            let handle = uuid::Uuid::new_v4().to_string();
            open.prepared.insert(handle.clone(), prepared);
            Ok(handle)
        })
    }

    /// Returns a prepared statement.
    pub(super) fn prepared(&self, key: &str, handle: &str) -> Result<Prepared, Status> {
        self.with(key, |open| open.prepared.get(handle).cloned().ok_or_else(|| unknown("prepared statement")))
    }

    /// Sets the values of a prepared statement's parameters.
    pub(super) fn bind(&self, key: &str, handle: &str, parameters: Vec<ScalarValue>) -> Result<(), Status> {
        self.with(key, |open| {
            open.prepared.get_mut(handle).ok_or_else(|| unknown("prepared statement"))?.parameters = parameters;
            Ok(())
        })
    }

    /// Drops a prepared statement.
    pub(super) fn close_prepared(&self, key: &str, handle: &str) {
        if let Some(open) = self.lock().get_mut(key) {
            open.prepared.remove(handle);
        }
    }

    /// Stores rows until they are fetched and returns their handle.
    pub(super) fn keep(
        &self,
        key: &str,
        results: Results,
        events: Option<mpsc::Receiver<RunEvent>>,
    ) -> Result<String, Status> {
        self.close_idle();
        self.with(key, |open| {
            if open.rows.len() >= STATEMENTS_MAX {
                let message = format!("the rows of {STATEMENTS_MAX} statements wait in this session; fetch some");
                return Err(Status::resource_exhausted(message));
            }
            let handle = uuid::Uuid::new_v4().to_string();
            open.rows.insert(handle.clone(), Rows { results, events, since: Instant::now() });
            Ok(handle)
        })
    }

    /// Removes and returns stored rows.
    pub(super) fn take(&self, key: &str, handle: &str) -> Result<Rows, Status> {
        self.with(key, |open| open.rows.remove(handle).ok_or_else(|| unknown("statement, or its rows were fetched")))
    }

    fn with<T>(&self, key: &str, f: impl FnOnce(&mut Open) -> Result<T, Status>) -> Result<T, Status> {
        match self.lock().get_mut(key) {
            Some(open) => f(open),
            None => Err(unknown("session; idle sessions are closed")),
        }
    }
}

fn unknown(what: &str) -> Status {
    Status::not_found(format!("there is no such {what}"))
}

/// The sessions, shared by the requests of a scheduler.
pub(super) type SharedSessions = Arc<Sessions>;
