//! The `tusk` command.

mod cli;

use clap::Parser;
use tusk_process::exit::{FAILURE, end, end_of_flags};

fn main() {
    let arguments = cli::Arguments::try_parse().unwrap_or_else(|error| end_of_flags(&error));
    end(run(arguments))
}

/// Runs the command and returns the exit code. The runtime finishes its pending writes before the process exits.
#[tokio::main]
async fn run(arguments: cli::Arguments) -> i32 {
    cli::log_to_stderr();
    match cli::run(arguments).await {
        Ok(()) => 0,
        Err(error) => {
            cli::print_error(&error);
            FAILURE
        }
    }
}
