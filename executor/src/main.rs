//! `tusk-executor`: trains and predicts on one machine of a cluster.

use tusk_executor::flags::{Flags, adjust};
use tusk_process::exit::{FAILURE, end};

#[tokio::main]
async fn main() {
    let flags: Flags = tusk_process::flags::parse_or_exit(adjust);
    match Box::pin(tusk_executor::run(flags)).await {
        Ok(()) => end(0),
        Err(error) => {
            report(&error);
            end(FAILURE)
        }
    }
}

#[expect(clippy::print_stderr, reason = "the log may not have started")]
fn report(error: &tusk_executor::ProcessError) {
    eprintln!("error: {error}");
}
