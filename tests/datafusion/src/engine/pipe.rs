//! A session of the embedded engine. It is in a process of its own (`benches/src/bin/pipe.rs`), since Tusk is tested with the
//! features that it is shipped with. The process gets statements, each after its length, and answers with Arrow's IPC stream
//! or an error.

use std::fs::{File, OpenOptions};
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Answer, Refusal, Session};
use crate::say::say;

/// The first byte of an answer that has rows. Otherwise it has an error.
const ROWS: u8 = b'R';

/// The largest answer, in bytes. A length beyond it is no length.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// The longest wait for a process that was asked to end.
const END_MAX: Duration = Duration::from_secs(5);

/// The settings of a session.
pub(crate) struct PipeSettings {
    /// The program `pipe`.
    pub(crate) program: PathBuf,
    /// The working directory.
    pub(crate) home: PathBuf,
    /// The model store, of this session alone.
    pub(crate) store: PathBuf,
    /// The folder for temporary files.
    pub(crate) temporary: PathBuf,
    /// The file for the program's log.
    pub(crate) log: PathBuf,
    /// The longest time of a statement.
    pub(crate) limit: Duration,
    /// Statements that begin a session. It begins anew if the process ends.
    pub(crate) set_up: Vec<String>,
}

/// A session of the embedded engine.
pub(crate) struct Pipe {
    settings: PipeSettings,
    /// `None` before the first statement, after the process has ended, and while a statement runs.
    process: Option<Process>,
}

struct Process {
    child: Child,
    statements: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Pipe {
    pub(crate) fn new(settings: PipeSettings) -> Self {
        Self { settings, process: None }
    }
}

impl Process {
    /// Starts a process, and runs the statements that begin a session.
    async fn start(settings: &PipeSettings) -> std::io::Result<Self> {
        let mut process = Self::spawn(settings)?;
        for sql in &settings.set_up {
            let (kind, answer) = process.ask(sql).await?;
            if kind != ROWS {
                say(&format!("embedded: set-up failed: {sql}: {}", String::from_utf8_lossy(&answer)));
            }
        }
        Ok(process)
    }

    fn spawn(settings: &PipeSettings) -> std::io::Result<Self> {
        let PipeSettings { program, home, store, temporary, log, limit, set_up: _ } = settings;
        let log: File = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(program)
            .arg(format!("--timeout-seconds={}", limit.as_secs()))
            .current_dir(home)
            .env("TUSK_STORE", store)
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let missing = || std::io::Error::other("the session's process has no pipes");
        let statements = child.stdin.take().ok_or_else(missing)?;
        let answers = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        Ok(Self { child, statements, answers })
    }

    /// Sends a statement, and returns the kind and the bytes of its answer.
    async fn ask(&mut self, sql: &str) -> std::io::Result<(u8, Vec<u8>)> {
        let length = u32::try_from(sql.len()).map_err(std::io::Error::other)?;
        self.statements.write_all(&length.to_le_bytes()).await?;
        self.statements.write_all(sql.as_bytes()).await?;
        self.statements.flush().await?;
        let kind = self.answers.read_u8().await?;
        let length = self.answers.read_u64_le().await?;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = Vec::new();
        let read = (&mut self.answers).take(length).read_to_end(&mut answer).await?;
        if read as u64 != length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok((kind, answer))
    }
}

#[async_trait]
impl Session for Pipe {
    async fn answer(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let program = self.settings.program.display().to_string();
        let process = match self.process.take() {
            Some(process) => Ok(process),
            None => Process::start(&self.settings).await,
        };
        let mut process = process.map_err(|e| Refusal::broken(format!("cannot start {program}: {e}")))?;
        match process.ask(sql).await {
            Ok((kind, answer)) => {
                // Only now: if this future is dropped on the way, the process is ended, since its answer is still to come.
                self.process = Some(process);
                if kind != ROWS {
                    return Err(Refusal::of_tusk(&String::from_utf8_lossy(&answer)));
                }
                decode(&answer).map_err(|e| Refusal::broken(format!("cannot read the rows: {e}")))
            }
            Err(error) => {
                let ended = match tokio::time::timeout(Duration::from_secs(1), process.child.wait()).await {
                    Ok(Ok(status)) => status.to_string(),
                    _ => error.to_string(),
                };
                let log = self.settings.log.display();
                Err(Refusal::broken(format!("the process of the session ended ({ended}); its log is {log}")))
            }
        }
    }

    /// Closes the pipe, so that the process removes its files.
    async fn close(&mut self) {
        if let Some(Process { mut child, statements, answers }) = self.process.take() {
            drop(statements);
            drop(answers);
            drop(tokio::time::timeout(END_MAX, child.wait()).await);
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Answer, ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    Ok(Answer { schema, batches: reader.collect::<Result<_, _>>()? })
}
