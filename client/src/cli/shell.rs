//! The interactive shell of `tusk sql`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tusk_core::protocol::StatementHelp;

use super::commands::COMMANDS;
use super::completion::Words;
use super::connection::{Connection, Outcome};
use super::format::{Format, print_line};
use super::print_error;
use super::script::split;

/// The help on statements that are not about models.
const OTHER_STATEMENTS: &str = "\
  CREATE EXTERNAL TABLE name STORED AS { IMAGES | PARQUET | CSV | JSON } LOCATION 'path'
To search an option, set it to range(low, high) or candidates(a, b, ...).
Functions: predict('model', image), predict_proba('model', image [, 'class']), explain('model', image).
Ctrl-C clears the line or ends the running statement. A cancelled training run can be resumed.";

/// The settings that the user can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    format: Format,
    timing: bool,
}

/// The action of a backslash command.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Leave,
    Help,
    /// Shows the help of a statement.
    Describe(String),
    Options,
    Run(String),
    Set(Settings),
}

/// Reads statements from the terminal and runs them, until the user leaves.
pub(crate) async fn run(connection: &Connection, format: Format) -> Result<()> {
    let statements = connection.context.statements().await.unwrap_or_else(|error| {
        eprintln!("tusk: cannot list the statements about models: {error}");
        Vec::new()
    });
    let mut shell = Shell::new(connection, format, statements)?;
    print_line(&format!("Tusk {}. End statements with ;. \\? shows help.", env!("CARGO_PKG_VERSION")))?;
    while shell.step().await? {}
    Ok(())
}

struct Shell<'a> {
    connection: &'a Connection,
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    settings: Settings,
    /// The help of the statements about models.
    statements: Vec<StatementHelp>,
    /// The lines of a statement that has no semicolon yet.
    buffer: String,
}

impl<'a> Shell<'a> {
    fn new(connection: &'a Connection, format: Format, statements: Vec<StatementHelp>) -> Result<Self> {
        let config = Config::builder()
            .max_history_size(10_000)?
            .history_ignore_dups(true)?
            .completion_type(rustyline::CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Words::new(&statements)));
        let history = history_file();
        if let Some(file) = history.as_ref().filter(|file| file.exists())
            && let Err(error) = editor.load_history(file)
        {
            eprintln!("tusk: cannot read the history {}: {error}", file.display());
        }
        let settings = Settings { format, timing: true };
        Ok(Self { connection, editor, history, settings, statements, buffer: String::new() })
    }

    /// Reads and handles one line. Returns whether to read another.
    async fn step(&mut self) -> Result<bool> {
        if self.buffer.is_empty()
            && let Some(words) = self.editor.helper_mut()
        {
            words.refresh(&self.connection.context).await;
        }
        let prompt = if self.buffer.is_empty() { "tusk> " } else { "   -> " };
        let line = match tokio::task::block_in_place(|| self.editor.readline(prompt)) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => {
                self.buffer.clear();
                return Ok(true);
            }
            Err(ReadlineError::Eof) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let word = line.trim();
        // This also works within a statement. Otherwise a user who forgot the semicolon could not leave.
        if let Some(command) = word.strip_prefix('\\')
            && (self.buffer.is_empty() || action(command, self.settings).is_ok())
        {
            self.remember(word);
            return self.command(command).await;
        }
        if self.buffer.is_empty() {
            let word = word.trim_end_matches(';').trim_end();
            if word.eq_ignore_ascii_case("quit") || word.eq_ignore_ascii_case("exit") {
                return Ok(false);
            }
            if word.eq_ignore_ascii_case("help") {
                return self.command("?").await;
            }
        }
        self.buffer.push_str(&line);
        self.buffer.push('\n');
        self.run_ended().await;
        Ok(true)
    }

    /// Runs the complete statements of the buffer. An incomplete statement stays in it.
    async fn run_ended(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut pieces = split(&buffer);
        // An open comment is not a piece yet.
        let comment_is_open = pieces.is_empty() && split(&format!("{buffer}\n;x")).is_empty();
        if comment_is_open {
            self.buffer = buffer;
            return;
        }
        if let Some(last) = pieces.pop_if(|last| !last.ended) {
            buffer[last.begin..].clone_into(&mut self.buffer);
        }
        if let (Some(first), Some(last)) = (pieces.first(), pieces.last()) {
            let text = format!("{};", &buffer[first.begin..last.begin + last.text.len()]);
            self.remember(&text);
        }
        for piece in &pieces {
            if let Err(error) = self.run(&piece.in_its_place()).await {
                print_error(&error);
                // The following statements may depend on this one.
                self.buffer.clear();
                return;
            }
        }
    }

    async fn run(&self, sql: &str) -> Result<()> {
        let outcome = self.connection.run(sql, self.settings.format).await?;
        if self.settings.timing {
            let footer = footer(&outcome);
            match self.settings.format {
                Format::Table => print_line(&footer)?,
                Format::Csv | Format::Json => eprintln!("{footer}"),
            }
        }
        Ok(())
    }

    async fn command(&mut self, command: &str) -> Result<bool> {
        match action(command, self.settings) {
            Ok(Action::Leave) => return Ok(false),
            Ok(Action::Help) => print_line(&help(&self.statements))?,
            Ok(Action::Describe(name)) => match describe(&self.statements, &name) {
                Ok(text) => print_line(&text)?,
                Err(error) => print_error(&error),
            },
            Ok(Action::Options) => print_line(&options())?,
            Ok(Action::Set(settings)) => {
                self.settings = settings;
                let timing = if settings.timing { "on" } else { "off" };
                print_line(&format!("format {}, timing {timing}", format_name(settings.format)))?;
            }
            Ok(Action::Run(sql)) => {
                if let Err(error) = self.run(&sql).await {
                    print_error(&error);
                }
            }
            Err(error) => print_error(&error),
        }
        Ok(true)
    }

    /// Adds to the history immediately, so that it survives a killed shell.
    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text).unwrap_or(false);
        if let Some(file) = self.history.as_ref().filter(|_| added)
            && let Err(error) = self.editor.append_history(file)
        {
            eprintln!("tusk: cannot write the history {}: {error}", file.display());
            self.history = None;
        }
    }
}

/// The value of `TUSK_HISTORY`, or a file in the home folder.
fn history_file() -> Option<PathBuf> {
    let named = std::env::var_os("TUSK_HISTORY").filter(|name| !name.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".tusk_history")))
}

/// The action of a command, given without its backslash.
fn action(command: &str, settings: Settings) -> Result<Action> {
    let command = command.trim_end().trim_end_matches(';').trim_end();
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let argument = argument.trim();
    Ok(match (name, argument) {
        ("q", "") => Action::Leave,
        ("?" | "h", "") => Action::Help,
        ("h", name) => Action::Describe(name.to_owned()),
        ("o", "") => Action::Options,
        ("d", "") => Action::Run("SHOW TABLES".to_owned()),
        ("d", table) => Action::Run(format!("DESCRIBE {table}")),
        ("m", "") => Action::Run("SHOW MODELS".to_owned()),
        ("m", model) => Action::Run(format!("DESCRIBE MODEL {model}")),
        ("timing", "") => Action::Set(Settings { timing: !settings.timing, ..settings }),
        ("timing", "on") => Action::Set(Settings { timing: true, ..settings }),
        ("timing", "off") => Action::Set(Settings { timing: false, ..settings }),
        ("format", "") => Action::Set(settings),
        ("format", "table") => Action::Set(Settings { format: Format::Table, ..settings }),
        ("format", "csv") => Action::Set(Settings { format: Format::Csv, ..settings }),
        ("format", "json") => Action::Set(Settings { format: Format::Json, ..settings }),
        ("timing", other) => bail!("\\timing takes on or off, not '{other}'"),
        ("format", other) => bail!("\\format takes table, csv or json, not '{other}'"),
        _ => bail!("unknown command \\{command}; \\? lists the commands"),
    })
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Table => "table",
        Format::Csv => "csv",
        Format::Json => "json",
    }
}

fn help(statements: &[StatementHelp]) -> String {
    let commands: Vec<String> = COMMANDS.iter().map(|(name, what)| format!("  \\{name:8} {what}")).collect();
    let indented = |statement: &StatementHelp| format!("  {}\n", statement.syntax.replace('\n', "\n  "));
    let statements: String = statements.iter().map(indented).collect();
    let head = "End statements with ;. A statement may span several lines. Besides SQL there are:";
    format!("{}\n{head}\n{statements}{OTHER_STATEMENTS}", commands.join("\n"))
}

/// The help of one statement.
fn describe(statements: &[StatementHelp], name: &str) -> Result<String> {
    let Some(found) = statements.iter().find(|statement| statement.name.eq_ignore_ascii_case(name)) else {
        let known: Vec<&str> = statements.iter().map(|statement| statement.name.as_str()).collect();
        bail!("unknown statement {name}; the statements about models are {}", known.join(", "));
    };
    let StatementHelp { syntax, meaning, rows, right, .. } = found;
    Ok(format!("{syntax}\n\n{meaning}\nRows: {rows}\nRight: {right}"))
}

fn options() -> String {
    let rows = tusk_core::options::option_defs()
        .map(|option| format!("  {:20} {} Default: {}", option.name, option.meaning, option.default()));
    rows.collect::<Vec<_>>().join("\n")
}

fn footer(outcome: &Outcome) -> String {
    let seconds = format!("{:.3} s", outcome.seconds);
    match outcome.rows {
        _ if !outcome.has_columns => format!("({seconds})"),
        1 => format!("(1 row, {seconds})"),
        rows => format!("({rows} rows, {seconds})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { format: Format::Table, timing: true };

    #[test]
    fn commands_do_what_the_help_says() {
        assert_eq!(action("q", SETTINGS).unwrap(), Action::Leave);
        assert_eq!(action("d", SETTINGS).unwrap(), Action::Run("SHOW TABLES".to_owned()));
        assert_eq!(action("d  xrays;", SETTINGS).unwrap(), Action::Run("DESCRIBE xrays".to_owned()));
        assert_eq!(action("m p", SETTINGS).unwrap(), Action::Run("DESCRIBE MODEL p".to_owned()));
        assert_eq!(action("timing", SETTINGS).unwrap(), Action::Set(Settings { timing: false, ..SETTINGS }));
        assert_eq!(action("format csv", SETTINGS).unwrap(), Action::Set(Settings { format: Format::Csv, ..SETTINGS }));
        assert!(COMMANDS.iter().all(|(name, _)| action(name, SETTINGS).is_ok()));
    }

    #[test]
    fn a_statement_is_described_by_its_name() {
        let name = "SHOW MODELS".to_owned();
        let statement =
            StatementHelp { syntax: name.clone(), name, meaning: "Lists.".into(), ..StatementHelp::default() };
        assert_eq!(action("h show models", SETTINGS).unwrap(), Action::Describe("show models".to_owned()));
        let statements = [statement];
        assert!(describe(&statements, "show models").unwrap().starts_with("SHOW MODELS\n\nLists.\n"));
        let message = describe(&statements, "SHOW MODLES").unwrap_err().to_string();
        assert_eq!(message, "unknown statement SHOW MODLES; the statements about models are SHOW MODELS");
    }

    #[test]
    fn a_wrong_command_is_refused_with_advice() {
        let message = |command| action(command, SETTINGS).unwrap_err().to_string();
        assert_eq!(message("x"), "unknown command \\x; \\? lists the commands");
        assert_eq!(message("format xml"), "\\format takes table, csv or json, not 'xml'");
        assert_eq!(message("timing 1"), "\\timing takes on or off, not '1'");
    }

    #[test]
    fn the_footer_counts_rows() {
        let outcome = |rows, has_columns| Outcome { rows, has_columns, seconds: 0.25 };
        assert_eq!(footer(&outcome(1, true)), "(1 row, 0.250 s)");
        assert_eq!(footer(&outcome(0, true)), "(0 rows, 0.250 s)");
        assert_eq!(footer(&outcome(0, false)), "(0.250 s)");
    }
}
