//! The output of `--version`.

use std::fmt::Write;

/// The version of Tusk.
pub const TUSK_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the versions of Tusk and of its main dependencies, one per line.
#[must_use]
pub fn long(libtorch: Option<&str>, cuda: Option<&str>) -> String {
    let (ballista, datafusion) = (ballista_core::BALLISTA_VERSION, datafusion::DATAFUSION_VERSION);
    let mut text = format!("{TUSK_VERSION}\nballista {ballista}\ndatafusion {datafusion}");
    for (name, version) in [("libtorch", libtorch), ("CUDA", cuda)] {
        if let Some(version) = version {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{name} {version}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_version_is_on_its_own_line() {
        let text = super::long(Some("2.13.0"), Some("none"));
        let names: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names, ["ballista", "datafusion", "libtorch", "CUDA"]);
        assert_eq!(super::long(None, None).lines().count(), 3);
    }
}
