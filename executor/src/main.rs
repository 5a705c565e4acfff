//! `tusk-executor`: trains and predicts on one machine of a cluster.

use tusk_executor::flags::{Flags, adjust};

#[tokio::main]
async fn main() {
    let flags: Flags = tusk_process::flags::parse_or_exit(adjust);
    match Box::pin(tusk_executor::run(flags)).await {
        Ok(()) => end(0),
        Err(error) => {
            report(&error);
            end(1)
        }
    }
}

/// Ends the process without the destructors of libtorch: a task that did not end in time may still be inside it, on a
/// thread that nobody can stop, and would crash when what it uses is gone.
#[expect(unsafe_code, reason = "the standard library ends a process only with destructors or as a crash")]
fn end(code: i32) -> ! {
    unsafe extern "C" {
        fn _exit(code: i32) -> !;
    }
    // SAFETY: it takes any number and does not return. Logs are not buffered, and `run` removed its files.
    unsafe { _exit(code) }
}

#[expect(clippy::print_stderr, reason = "the last words of a process, also where no log could be started")]
fn report(error: &tusk_executor::ProcessError) {
    eprintln!("error: {error}");
}
