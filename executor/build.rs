//! Lets binaries and tests find libtorch where they were linked against it, without LD_LIBRARY_PATH. Every crate with
//! binaries or tests that run nets builds with this script.

use std::path::Path;

pub(crate) fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else { return };
    // Where `make install` puts libtorch, seen from the program; then where it was linked against it.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/tusk");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    if let Ok(version) = std::fs::read_to_string(Path::new(&libtorch).join("build-version")) {
        println!("cargo:rustc-env=TUSK_LIBTORCH_VERSION={}", version.trim());
    }
    if Path::new(&libtorch).join("lib/libtorch_cuda.so").exists() {
        println!("cargo:rustc-env=TUSK_LIBTORCH_CUDA=1");
        // Nothing refers to the CUDA library by name: without this the linker leaves it out, and no device is found.
        for argument in ["-Wl,--no-as-needed", &format!("-L{libtorch}/lib"), "-ltorch_cuda", "-Wl,--as-needed"] {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}
