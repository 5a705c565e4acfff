//! A session of the embedded engine for a program that must not contain Tusk itself, such as `tests/datafusion`: statements
//! on stdin, answers on stdout.
//!
//! A statement is its length (u32, little-endian) and its text. An answer is `R` or `E`, a length (u64, little-endian), and
//! Arrow's IPC stream of the rows or the text of the error. The session ends with stdin.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use datafusion::arrow::ipc::writer::StreamWriter;
use tusk::TuskContext;

/// The largest statement, in bytes.
const STATEMENT_BYTES_MAX: usize = 64 << 20;

#[derive(Parser)]
#[command(about = "Runs statements from stdin in the embedded engine and writes their rows to stdout as Arrow")]
struct Args {
    /// The longest time of a statement.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout_seconds: u64,
}

/// The answer to a statement: the rows as Arrow's IPC stream, or the text of the error.
type Answer = Result<Vec<u8>, String>;

fn main() -> Result<()> {
    let limit = Duration::from_secs(Args::parse().timeout_seconds);
    let runtime = tokio::runtime::Runtime::new()?;
    let context = runtime.block_on(Box::pin(TuskContext::embedded()))?;
    let (mut statements, mut answers) = (io::stdin().lock(), io::stdout().lock());
    while let Some(sql) = next(&mut statements)? {
        let answer = runtime.block_on(Box::pin(answer(&context, &sql, limit)));
        write(&mut answers, &answer).context("cannot write an answer")?;
    }
    Ok(())
}

/// The next statement, or `None` at the end.
fn next(statements: &mut impl Read) -> Result<Option<String>> {
    let mut length = [0; 4];
    match statements.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error).context("cannot read a statement"),
    }
    let length = usize::try_from(u32::from_le_bytes(length))?;
    ensure!(
        length <= STATEMENT_BYTES_MAX,
        "a statement has {length} bytes; at most {STATEMENT_BYTES_MAX} are accepted"
    );
    let mut sql = vec![0; length];
    statements.read_exact(&mut sql).context("a statement is cut short")?;
    Ok(Some(String::from_utf8(sql).context("a statement is not UTF-8")?))
}

async fn answer(context: &TuskContext, sql: &str, limit: Duration) -> Answer {
    match tokio::time::timeout(limit, Box::pin(rows(context, sql))).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

async fn rows(context: &TuskContext, sql: &str) -> Result<Vec<u8>> {
    let results = Box::pin(context.sql(sql)).await?;
    let schema = results.schema();
    let batches = results.collect().await?;
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &schema)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    drop(writer);
    Ok(stream)
}

fn write(answers: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let (kind, bytes) = match answer {
        Ok(stream) => (b'R', stream.as_slice()),
        Err(text) => (b'E', text.as_bytes()),
    };
    answers.write_all(&[kind])?;
    answers.write_all(&(bytes.len() as u64).to_le_bytes())?;
    answers.write_all(bytes)?;
    answers.flush()
}
