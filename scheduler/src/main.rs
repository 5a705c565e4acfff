//! `tusk-scheduler`: the control plane of a Tusk cluster.

use std::process::ExitCode;

use tusk_scheduler::flags::{Flags, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Flags::of_process()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of the process")]
            {
                eprintln!("tusk-scheduler: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
