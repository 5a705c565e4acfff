//! The `tusk` command.

mod cli;

use std::time::Duration;

use clap::Parser;
use tusk_process::exit::{FAILURE, end, end_of_flags};
use tusk_process::threads;

/// How long to wait for pending writes at the end of the process. A task that computes without a pause is not waited for.
const END_MAX: Duration = Duration::from_secs(2);

fn main() {
    let arguments = cli::Arguments::try_parse().unwrap_or_else(|error| end_of_flags(&error));
    end(run(arguments))
}

/// Runs the command and returns the exit code.
fn run(arguments: cli::Arguments) -> i32 {
    cli::log_to_stderr();
    let ended = threads::runtime("tusk").map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(Box::pin(cli::run(arguments)));
        runtime.shutdown_timeout(END_MAX);
        ended
    });
    match ended {
        Ok(()) => 0,
        Err(error) => {
            cli::print_error(&error);
            FAILURE
        }
    }
}
