#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        // A text either parses or is refused.
        drop(tusk_scheduler::check(text));
    }
});
