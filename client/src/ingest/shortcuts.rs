//! The shortcuts of a file that was ingested, in a few lines.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use tusk_core::manifest::Shortcut;
use tusk_scheduler::{FoundShortcuts, shortcuts_of_file};

use super::summary::thousands;
use crate::error::Result;

/// Maximum number of shortcuts that are shown in a terminal.
const SHOWN: usize = 3;

/// The shortcuts of a file. Its `Display` is for people.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShortcutSummary {
    /// The shortcuts, the best first.
    pub shortcuts: Vec<Shortcut>,
    /// The number of images that were measured.
    pub images: u64,
    /// Wall time.
    pub seconds: f64,
}

/// Measures the shortcuts of a file that [`super::ingest`] has written, as SHOW SHORTCUTS does: of its first 2,000 images, or
/// of those that are read in 20 seconds. Its rows are shuffled, so they are a sample.
///
/// # Errors
/// When the file cannot be read, or all its images have the same label.
pub async fn shortcuts(file: &Path) -> Result<ShortcutSummary> {
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let FoundShortcuts { shortcuts, images, .. } = Box::pin(shortcuts_of_file(file, threads)).await?;
    Ok(ShortcutSummary { shortcuts, images, seconds: start.elapsed().as_secs_f64() })
}

impl ShortcutSummary {
    /// Returns the strong shortcuts that are not the subject, the best first.
    fn strong(&self) -> impl Iterator<Item = &Shortcut> {
        self.shortcuts.iter().filter(|shortcut| shortcut.is_strong() && !shortcut.may_be_subject)
    }
}

impl fmt::Display for ShortcutSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = thousands(usize::try_from(self.images).unwrap_or(usize::MAX));
        let strong = self.strong().count();
        if strong == 0 {
            return writeln!(f, "shortcuts: none in {images} images ({:.1} s)", self.seconds);
        }
        writeln!(
            f,
            "shortcuts: {strong} in {images} images ({:.1} s), which tell the classes apart without the subject",
            self.seconds
        )?;
        for Shortcut { name, roc_auc, class, advice, .. } in self.strong().take(SHOWN) {
            let [value, low, high] = [roc_auc.value, roc_auc.low, roc_auc.high].map(Option::unwrap_or_default);
            writeln!(f, "  {name}: ROC AUC {value:.3} ({low:.3} to {high:.3}) for {class}; {advice}")?;
        }
        if strong > SHOWN {
            writeln!(f, "  and {} more; SHOW SHORTCUTS FOR the table lists them", strong - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::metrics::Interval;

    use super::*;

    fn shortcut(name: &str, value: f64) -> Shortcut {
        let roc_auc = Interval { value: Some(value), low: Some(value - 0.02), high: Some(value + 0.01) };
        let [name, class, advice] = [name, "PNEUMONIA", "look at it"].map(str::to_owned);
        Shortcut { name, roc_auc, class, may_be_subject: false, advice }
    }

    #[test]
    fn the_strongest_shortcuts_have_a_line_each() {
        let mut shortcuts = vec![shortcut("probe: 8 x 8 pixels", 0.99)];
        shortcuts[0].may_be_subject = true;
        shortcuts.extend(["bytes", "width", "height", "sharpness"].map(|name| shortcut(name, 0.95)));
        shortcuts.push(shortcut("border level", 0.6));
        let found = ShortcutSummary { shortcuts, images: 2_000, seconds: 4.21 }.to_string();
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "shortcuts: 4 in 2,000 images (4.2 s), which tell the classes apart without the subject",
                "  bytes: ROC AUC 0.950 (0.930 to 0.960) for PNEUMONIA; look at it",
            ]
        );
        assert_eq!(lines[4..], ["  and 1 more; SHOW SHORTCUTS FOR the table lists them"]);
    }

    #[test]
    fn a_file_without_shortcuts_has_one_line() {
        let shortcuts = vec![shortcut("width", 0.55)];
        let found = ShortcutSummary { shortcuts, images: 240, seconds: 0.5 }.to_string();
        assert_eq!(found, "shortcuts: none in 240 images (0.5 s)\n");
    }
}
