//! `tusk sql`: runs statements from the command line, a file, or a shell.

use std::io::{IsTerminal, Read, stdin};

use anyhow::{Context, Result};

use super::connection::Connection;
use super::format::Format;
use super::script::{Piece, split};
use super::{ClusterArguments, PathArgument, shell};

/// The name of a script from the command line in error messages.
const COMMAND: &str = "-c";

/// Arguments of `tusk sql`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without -c and -f, a shell starts. If there is no terminal, the script is read from stdin.")]
pub(crate) struct SqlArguments {
    /// Statements to run, separated by semicolons.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    commands: Vec<String>,
    /// Files of statements to run, after the statements of -c.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathArgument>,
    /// Output format.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn run(arguments: SqlArguments) -> Result<()> {
    let SqlArguments { commands, files, format, cluster } = arguments;
    if commands.is_empty() && files.is_empty() && stdin().is_terminal() {
        return shell::run(&Connection::open(&cluster).await?, format).await;
    }
    let mut scripts: Vec<Script> = commands.into_iter().map(|text| Script { name: COMMAND.to_owned(), text }).collect();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        scripts.push(Script { name: file.display().to_string(), text });
    }
    if scripts.is_empty() {
        let mut text = String::new();
        stdin().read_to_string(&mut text).context("cannot read standard input as text")?;
        scripts.push(Script { name: "standard input".to_owned(), text });
    }
    let statements: Vec<Vec<Piece<'_>>> = scripts.iter().map(|script| split(&script.text)).collect();
    let is_one = statements.iter().map(Vec::len).sum::<usize>() <= 1;
    let connection = Connection::open(&cluster).await?;
    // Parse all statements before the first one runs, so that a syntax error does not cost an hour of training.
    for is_check in [true, false].into_iter().skip(usize::from(is_one)) {
        for (script, pieces) in scripts.iter().zip(&statements) {
            for (index, piece) in pieces.iter().enumerate() {
                let sql = piece.in_its_place();
                let outcome = match is_check {
                    true => connection.context.check(&sql).await.map_err(Into::into),
                    false => connection.run(&sql, format).await.map(drop),
                };
                script.named(outcome, index + 1, pieces)?;
            }
        }
    }
    Ok(())
}

/// Statements that run one after the other.
struct Script {
    name: String,
    text: String,
}

impl Script {
    /// Adds the position of a failed statement to its error, unless it is the only statement of the command line.
    fn named(&self, outcome: Result<()>, number: usize, pieces: &[Piece<'_>]) -> Result<()> {
        let total = pieces.len();
        if self.name == COMMAND && total == 1 {
            return outcome;
        }
        let place = |piece: &Piece<'_>| {
            format!("{}, line {}, statement {number} of {total} failed: {}", self.name, piece.line, piece.beginning())
        };
        outcome.with_context(|| pieces.get(number - 1).map(place).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_script_line_and_statement() {
        let text = "SELECT 1;\n\nCREATE MODEL m\n  TRAIN FROM t;".to_owned();
        let script = Script { name: "train.sql".to_owned(), text };
        let outcome = Err(anyhow::anyhow!("syntax error"));
        let error = script.named(outcome, 2, &split(&script.text)).unwrap_err();
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(chain, ["train.sql, line 3, statement 2 of 2 failed: CREATE MODEL m TRAIN FROM t", "syntax error"]);
    }
}
