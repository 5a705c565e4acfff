//! Logging to stderr, as text or JSON. The messages that Ballista writes through the `log` crate are included.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// An error from starting the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is invalid.
    #[error("invalid log level '{level}': {source}; use for example info, or info,ballista_executor=debug")]
    Level {
        /// The level as given.
        level: String,
        /// Why it is invalid.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A logger is already installed.
    #[error("logging is already initialized: {0}")]
    Twice(Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging. `level` is a level or a list of levels per module, such as `info,tusk_executor=debug`.
///
/// # Errors
/// [`LogError`].
pub fn init(format: LogFormat, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(level).map_err(|source| LogError::Level { level: level.to_owned(), source })?;
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_terminal);
    match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(LogError::Twice)
}
