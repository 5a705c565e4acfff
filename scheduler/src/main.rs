//! `tusk-scheduler`: the scheduler of a Tusk cluster.

use std::time::Duration;

use tusk_process::exit::{FAILURE, end};
use tusk_process::threads;
use tusk_scheduler::flags::{Flags, run};

/// How long to wait for tasks at the end of the process. A task that computes without a pause is not waited for.
const END_MAX: Duration = Duration::from_secs(1);

fn main() {
    let flags = Flags::of_process();
    let ended = threads::runtime("tusk-scheduler").map_err(anyhow::Error::from).and_then(|runtime| {
        let ended = runtime.block_on(Box::pin(run(flags)));
        runtime.shutdown_timeout(END_MAX);
        ended
    });
    let Err(error) = ended else { end(0) };
    #[expect(clippy::print_stderr, reason = "the process ends with this message")]
    {
        eprintln!("tusk-scheduler: {error:#}");
    }
    end(FAILURE)
}
