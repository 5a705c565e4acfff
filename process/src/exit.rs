//! The end of a process.

use std::io::Write as _;

/// What a process that failed ends with.
pub const FAILURE: i32 = 1;

/// Ends the process with `code`, after what was printed is out, but without the destructors of the libraries. Those of
/// libtorch take a tenth of a second to free what the system frees anyway; and a task that did not end in time may still
/// be inside libtorch, on a thread that nobody can stop, and would crash when what it uses is gone.
#[expect(unsafe_code, reason = "the standard library ends a process only with destructors or as a crash")]
pub fn end(code: i32) -> ! {
    unsafe extern "C" {
        fn _exit(code: i32) -> !;
    }
    // Nobody is left to be told when it cannot be written: a pipe that nobody reads any more.
    let _ = std::io::stdout().flush();
    // SAFETY: it takes any number and does not return.
    unsafe { _exit(code) }
}

/// Prints what clap says, help or version or what is wrong with the flags, and ends the process as clap would.
pub fn end_of_flags(error: &clap::Error) -> ! {
    // Nobody is left to be told of it here, too.
    let _ = error.print();
    end(error.exit_code())
}
