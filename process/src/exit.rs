//! Ending a process.

use std::io::Write as _;

/// The exit code of a process that failed.
pub const FAILURE: i32 = 1;

/// Flushes stdout and ends the process with `code`, without running the destructors of libraries. The destructors of
/// libtorch take a tenth of a second to free memory that the system frees anyway. A task that did not end in time may
/// also still run inside libtorch on a thread that cannot be stopped, and would crash if the library were destroyed.
#[expect(unsafe_code, reason = "the standard library ends a process only with destructors or as a crash")]
pub fn end(code: i32) -> ! {
    unsafe extern "C" {
        fn _exit(code: i32) -> !;
    }
    // A failed write cannot be reported: stdout is a closed pipe.
    let _ = std::io::stdout().flush();
    // SAFETY: `_exit` accepts any number and does not return.
    unsafe { _exit(code) }
}

/// Prints the message of clap (the help, the version or an error) and ends the process with the exit code of clap.
pub fn end_of_flags(error: &clap::Error) -> ! {
    // A failed write cannot be reported here either.
    let _ = error.print();
    end(error.exit_code())
}
