//! `tusk-scheduler`: the scheduler of a Tusk cluster.

use std::process::ExitCode;

use tusk_scheduler::flags::{Flags, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the process ends with this message")]
            {
                eprintln!("tusk-scheduler: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
