//! Sets the library search path of binaries and tests, so that they find libtorch without LD_LIBRARY_PATH. Every crate
//! whose binaries or tests run nets uses this script.

use std::path::Path;

pub(crate) fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Ok(libtorch) = std::env::var("LIBTORCH") else { return };
    // First the folder that `make install` copies libtorch to, relative to the program; then the folder of the build.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/tusk");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    if let Ok(version) = std::fs::read_to_string(Path::new(&libtorch).join("build-version")) {
        println!("cargo:rustc-env=TUSK_LIBTORCH_VERSION={}", version.trim());
    }
    if Path::new(&libtorch).join("lib/libtorch_cuda.so").exists() {
        println!("cargo:rustc-env=TUSK_LIBTORCH_CUDA=1");
        // No symbol of the CUDA library is used directly. Without these flags the linker drops it, and libtorch finds
        // no device.
        for argument in ["-Wl,--no-as-needed", &format!("-L{libtorch}/lib"), "-ltorch_cuda", "-Wl,--as-needed"] {
            println!("cargo:rustc-link-arg={argument}");
        }
    }
}
