//! The output of `tusk-executor --version`.

/// The version of libtorch at build time.
const LIBTORCH: &str = match option_env!("TUSK_LIBTORCH_VERSION") {
    Some(version) => version,
    None => "unknown",
};

/// Whether libtorch is a CUDA build. It is determined at build time, because libtorch reports that CUDA is missing when
/// there is no device.
const CUDA: bool = option_env!("TUSK_LIBTORCH_CUDA").is_some();

/// Returns the versions of the executor's components, one per line.
#[must_use]
pub fn long() -> String {
    let cuda = CUDA.then(|| (LIBTORCH, tch::Cuda::device_count()));
    tusk_process::version::long(Some(LIBTORCH), Some(&describe(cuda)))
}

/// Describes the CUDA version, from a libtorch version such as "2.13.0+cu130", and the number of devices.
fn describe(cuda: Option<(&str, i64)>) -> String {
    let Some((libtorch, devices)) = cuda else { return "none (CPU build)".to_owned() };
    let digits =
        libtorch.split_once("+cu").and_then(|(_, digits)| digits.split_at_checked(digits.len().checked_sub(1)?));
    let version = digits.map_or_else(|| "unknown".to_owned(), |(major, minor)| format!("{major}.{minor}"));
    match devices {
        0 => format!("{version}, no device: is NVIDIA's driver installed?"),
        1 => format!("{version}, 1 device"),
        _ => format!("{version}, {devices} devices"),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn a_cuda_build_is_recognised_without_a_device() {
        assert_eq!(describe(None), "none (CPU build)");
        assert_eq!(describe(Some(("2.13.0+cu130", 0))), "13.0, no device: is NVIDIA's driver installed?");
        assert_eq!(describe(Some(("2.13.0+cu130", 8))), "13.0, 8 devices");
        assert_eq!(describe(Some(("2.13.0", 1))), "unknown, 1 device");
        assert_eq!(describe(Some(("2.13.0+cu", 1))), "unknown, 1 device");
    }
}
