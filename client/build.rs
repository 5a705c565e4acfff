//! The link arguments of libtorch, where the embedded cluster is part of the build.

#[path = "../executor/build.rs"]
mod libtorch;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_some() {
        libtorch::main();
    }
}
