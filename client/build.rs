//! Passes the link arguments of libtorch if the build includes the embedded cluster.

#[path = "../executor/build.rs"]
mod libtorch;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_some() {
        libtorch::main();
    }
}
