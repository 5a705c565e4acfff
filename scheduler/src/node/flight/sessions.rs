//! The sessions of SQL clients, with their prepared statements and the rows that are not fetched yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tonic::Status;
use tusk_core::event::RunEvent;
use tusk_core::sql::Parameters;

use super::kept::Kept;
use crate::error::Results;
use crate::metrics;
use crate::session::{ParameterRows, Session};
use crate::statements::Statement;
use crate::status::{NO_PREPARED_STATEMENT, NO_RESULT, NO_SESSION, TOO_LARGE, TOO_MANY_SESSIONS};

/// A session, or a prepared statement of one, that is not used for this long is closed. The tables of the session are
/// dropped with it.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// A session that is not used for this long makes room for another one.
const SESSION_IDLE_MIN: Duration = Duration::from_secs(300);

/// Rows that are not fetched for this long are dropped.
const ROWS_IDLE_MAX: Duration = Duration::from_secs(300);

/// The interval at which idle sessions, statements and rows are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The maximum number of open sessions.
const SESSIONS_MAX: usize = 1024;

/// The maximum number of prepared statements of a session, and of its statements whose rows are not fetched yet.
const STATEMENTS_MAX: usize = 256;

/// The maximum size in bytes of the values that a session has bound to prepared statements and not used yet.
pub(super) const BOUND_BYTES_MAX: usize = 512 << 20;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    pub(super) parameters: Parameters,
    /// The values for the next execution.
    pub(super) bound: ParameterRows,
}

/// The rows of a started statement.
pub(super) struct Rows {
    pub(super) results: Results,
    pub(super) events: Option<mpsc::Receiver<RunEvent>>,
    /// Whether the statement has taken effect, so that it cannot be cancelled any more.
    pub(super) is_done: bool,
}

struct Open {
    session: Session,
    used: Instant,
    /// Shared with each request that reads or writes rows at this moment.
    lease: Arc<()>,
    prepared: Kept<Prepared>,
    rows: Kept<Rows>,
}

impl Open {
    /// Whether a request waits for the session, or will fetch rows from it.
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.lease) > 1 || !self.rows.is_empty()
    }
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

/// Keeps a session open while rows are read or written.
pub(super) struct InUse {
    sessions: SharedSessions,
    key: String,
    lease: Option<Arc<()>>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        let Some(lease) = &self.lease else { return };
        if let Some(open) = self.sessions.lock().get_mut(&self.key).filter(|open| Arc::ptr_eq(&open.lease, lease)) {
            open.used = Instant::now();
        }
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
        self.drop_idle();
        self.make_room()?;
        let session = open.await?;
        let entry = Open {
            session: session.clone(),
            used: Instant::now(),
            lease: Arc::default(),
            prepared: Kept::new(STATEMENTS_MAX, SESSION_IDLE_MAX),
            rows: Kept::new(STATEMENTS_MAX, ROWS_IDLE_MAX),
        };
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

    /// Closes the session that is unused longest if there are too many.
    fn make_room(&self) -> Result<(), Status> {
        let mut sessions = self.lock();
        if sessions.len() < SESSIONS_MAX {
            return Ok(());
        }
        let idle = sessions.iter().filter(|(_, open)| !open.is_in_use() && open.used.elapsed() >= SESSION_IDLE_MIN);
        match idle.min_by_key(|(_, open)| open.used).map(|(key, _)| key.clone()) {
            Some(key) => drop_later(sessions.remove(&key)),
            None => {
                let message = format!(
                    "{SESSIONS_MAX} sessions are open, and none is idle for {} minutes. Close connections that are not \
                     used, or try again later",
                    SESSION_IDLE_MIN.as_secs() / 60
                );
                return Err(TOO_MANY_SESSIONS.status(message));
            }
        }
        Ok(())
    }

    /// Closes idle sessions, and drops prepared statements and rows that were not used in time. The runs that the sessions
    /// started continue.
    fn drop_idle(&self) {
        let mut sessions = self.lock();
        for open in sessions.values_mut() {
            open.prepared.drop_idle();
            open.rows.drop_idle();
        }
        let is_idle = |open: &Open| !open.is_in_use() && open.used.elapsed() >= SESSION_IDLE_MAX;
        drop_later(sessions.extract_if(|_, open| is_idle(open)).map(|(_, open)| open));
        metrics::SESSIONS.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
        let waiting: usize = sessions.values().map(|open| open.rows.len()).sum();
        metrics::STATEMENTS_WAITING.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Closes a session. Its tables, prepared statements and rows are dropped.
    pub(super) fn close(&self, key: &str) {
        let mut sessions = self.lock();
        drop_later(sessions.remove(key));
        metrics::SESSIONS.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
    }

    /// Keeps a session open until the returned value is dropped, if there is one.
    pub(super) fn in_use(self: &Arc<Self>, key: &str) -> InUse {
        let lease = self.lock().get(key).map(|open| Arc::clone(&open.lease));
        InUse { sessions: Arc::clone(self), key: key.to_owned(), lease }
    }

    /// Stores a prepared statement and returns its handle.
    pub(super) fn prepare(&self, key: &str, prepared: Prepared) -> Result<String, Status> {
        self.with(key, |open| Ok(open.prepared.add(prepared)))
    }

    /// Returns a prepared statement, with the values that were bound to it. They are used once.
    pub(super) fn prepared(&self, key: &str, handle: &str) -> Result<Prepared, Status> {
        self.with(key, |open| {
            let prepared = open.prepared.get(handle).ok_or_else(no_prepared_statement)?;
            let bound = std::mem::take(&mut prepared.bound);
            Ok(Prepared { bound, ..prepared.clone() })
        })
    }

    /// Sets the values of a prepared statement's parameters.
    pub(super) fn bind(&self, key: &str, handle: &str, values: ParameterRows) -> Result<(), Status> {
        self.with(key, |open| {
            open.prepared.get(handle).ok_or_else(no_prepared_statement)?.bound = ParameterRows::default();
            let others: usize = open.prepared.values().map(|prepared| prepared.bound.bytes()).sum();
            if others + values.bytes() > BOUND_BYTES_MAX {
                return Err(TOO_LARGE.status(format!(
                    "the values that are bound to prepared statements of this session have more than {} MiB. Execute \
                     the statements, or close them",
                    BOUND_BYTES_MAX >> 20
                )));
            }
            open.prepared.get(handle).ok_or_else(no_prepared_statement)?.bound = values;
            Ok(())
        })
    }

    /// Drops a prepared statement.
    pub(super) fn close_prepared(&self, key: &str, handle: &str) {
        if let Some(open) = self.lock().get_mut(key) {
            open.prepared.take(handle);
        }
    }

    /// Stores rows until they are fetched and returns their handle.
    pub(super) fn keep(&self, key: &str, rows: Rows) -> Result<String, Status> {
        let handle = self.with(key, |open| Ok(open.rows.add(rows)))?;
        self.drop_idle();
        Ok(handle)
    }

    /// Removes and returns stored rows.
    pub(super) fn take(&self, key: &str, handle: &str) -> Result<Rows, Status> {
        self.with(key, |open| {
            open.rows.take(handle).ok_or_else(|| {
                NO_RESULT.status(format!(
                    "the rows of this statement are gone: they were fetched, or not within {} minutes, or {STATEMENTS_MAX} \
                     later statements of this session wait for their rows to be fetched. Run the statement again",
                    ROWS_IDLE_MAX.as_secs() / 60
                ))
            })
        })
    }

    fn with<T>(&self, key: &str, f: impl FnOnce(&mut Open) -> Result<T, Status>) -> Result<T, Status> {
        match self.lock().get_mut(key) {
            Some(open) => {
                open.used = Instant::now();
                f(open)
            }
            None => Err(NO_SESSION.status(format!(
                "the session is closed: by its client, or because it was not used for {} minutes. Its tables and prepared \
                 statements are dropped. Prepare the statement again",
                SESSION_IDLE_MAX.as_secs() / 60
            ))),
        }
    }
}

/// Drops closed sessions on a thread that may block, because this removes the files of their tables.
fn drop_later(closed: impl IntoIterator<Item = Open>) {
    let closed: Vec<Open> = closed.into_iter().collect();
    if !closed.is_empty() {
        tokio::task::spawn_blocking(move || drop(closed));
    }
}

fn no_prepared_statement() -> Status {
    NO_PREPARED_STATEMENT.status(format!(
        "there is no such prepared statement: it was closed, or not used for {} minutes, or {STATEMENTS_MAX} others of this \
         session were used since. Prepare it again",
        SESSION_IDLE_MAX.as_secs() / 60
    ))
}

/// The sessions, shared by the requests of a scheduler.
pub(super) type SharedSessions = Arc<Sessions>;

/// Returns the sessions of a scheduler. A task drops what is idle, until the sessions are dropped.
pub(super) fn shared_sessions() -> SharedSessions {
    let sessions = SharedSessions::default();
    tokio::spawn(sweep(Arc::downgrade(&sessions)));
    sessions
}

async fn sweep(sessions: Weak<Sessions>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(sessions) = sessions.upgrade() else { return };
        sessions.drop_idle();
    }
}
