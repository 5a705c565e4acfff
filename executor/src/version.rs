//! What `tusk-executor --version` prints.

/// The version of libtorch that this was built with.
const LIBTORCH: &str = match option_env!("TUSK_LIBTORCH_VERSION") {
    Some(version) => version,
    None => "unknown",
};

/// The versions of everything in this executor, a line each.
#[must_use]
pub fn long() -> String {
    let cuda = match (tch::utils::has_cuda(), tch::Cuda::device_count()) {
        (false, _) => "none: this is a build for the CPU".to_owned(),
        (true, devices) => format!("{}, {devices} devices", LIBTORCH.split_once("+cu").map_or("yes", |(_, v)| v)),
    };
    tusk_process::version::long(Some(LIBTORCH), Some(&cuda))
}
