//! `tusk-executor`: trains and predicts on one machine of a cluster.

use std::process::ExitCode;

use tusk_executor::flags::{Flags, adjust};

#[tokio::main]
async fn main() -> ExitCode {
    let flags: Flags = tusk_process::flags::parse_or_exit(adjust);
    match Box::pin(tusk_executor::run(flags)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a process, also where no log could be started")]
fn report(error: &tusk_executor::ProcessError) {
    eprintln!("error: {error}");
}
