//! `tusk-executor`: trains and predicts on one machine of a cluster.

use std::time::Duration;

use tusk_executor::ProcessError;
use tusk_executor::flags::{Flags, adjust};
use tusk_process::exit::{FAILURE, end};
use tusk_process::threads;

/// How long to wait for tasks at the end of the process. A task that computes without a pause is not waited for.
const END_MAX: Duration = Duration::from_secs(1);

fn main() {
    // Ballista starts the threads of tasks.
    threads::enlarge_default_stacks();
    let flags: Flags = tusk_process::flags::parse_or_exit(adjust);
    let start = |source| ProcessError::Io { what: "cannot start threads", source };
    let ended = threads::runtime("tusk-executor").map_err(start).and_then(|runtime| {
        let ended = runtime.block_on(Box::pin(tusk_executor::run(flags)));
        runtime.shutdown_timeout(END_MAX);
        ended
    });
    match ended {
        Ok(()) => end(0),
        Err(error) => {
            report(&error);
            end(FAILURE)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log may not have started")]
fn report(error: &ProcessError) {
    eprintln!("error: {error}");
}
