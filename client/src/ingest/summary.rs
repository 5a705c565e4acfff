//! The result of an ingest.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The largest number of refused files that are listed. All are counted.
const REFUSED_MAX: usize = 100;
/// The largest number of refused files that are shown in a terminal.
const REFUSED_SHOWN: usize = 10;

/// The result of an ingest. Its `Display` is for people.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IngestSummary {
    /// The path of the output.
    pub out: PathBuf,
    /// The number of images, which is the number of rows.
    pub rows: usize,
    /// The bytes of these images.
    pub bytes: u64,
    /// The bytes of the Parquet file.
    pub file_bytes: u64,
    /// The number of rows per label.
    pub classes: BTreeMap<String, usize>,
    /// The number of different groups. 0 without a group regex.
    pub groups: usize,
    /// The number of rows whose file name does not match the group regex. Their group is NULL.
    pub unmatched_groups: usize,
    /// The number of rows whose image has the same bytes as an earlier row. These rows are kept.
    pub duplicates: usize,
    /// The number of duplicates whose label differs from that of the first such image.
    pub conflicting_duplicates: usize,
    /// The first 100 files that were refused.
    pub refused: Vec<Refused>,
    /// The number of all refused files.
    pub refused_count: usize,
    /// Wall time.
    pub seconds: f64,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The path relative to the given folder.
    pub path: String,
    /// Why it was refused.
    pub reason: String,
}

impl IngestSummary {
    pub(super) fn of(out: &Path) -> Self {
        Self { out: out.to_owned(), ..Self::default() }
    }

    pub(super) fn refuse(&mut self, refused: Refused) {
        self.refused_count += 1;
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(refused);
        }
    }

    /// Images per second of wall time.
    pub fn images_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds.max(1e-9)
    }
}

impl fmt::Display for IngestSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} images, {} ({:.1} s, {:.0} images/s)",
            self.out.display(),
            thousands(self.rows),
            size(self.file_bytes),
            self.seconds,
            self.images_per_second()
        )?;
        let width = self.classes.keys().map(|label| label.chars().count()).max().unwrap_or(0);
        for (label, rows) in &self.classes {
            let share = 100.0 * *rows as f64 / self.rows.max(1) as f64;
            writeln!(f, "  {label:width$}  {:>9}  {share:>5.1} %", thousands(*rows))?;
        }
        if self.groups + self.unmatched_groups > 0 {
            write!(f, "groups: {}", thousands(self.groups))?;
            if self.unmatched_groups > 0 {
                let unmatched = thousands(self.unmatched_groups);
                write!(f, "; the group regex does not match {unmatched} file names; their group is NULL")?;
            }
            writeln!(f)?;
        }
        if self.duplicates > 0 {
            write!(f, "duplicates: {} images are copies of another one (kept)", thousands(self.duplicates))?;
            if self.conflicting_duplicates > 0 {
                write!(f, ", {} of them with another label", thousands(self.conflicting_duplicates))?;
            }
            writeln!(f)?;
        }
        if self.refused_count > 0 {
            writeln!(f, "refused: {} files", thousands(self.refused_count))?;
            let shown = self.refused.iter().take(REFUSED_SHOWN);
            for Refused { path, reason } in shown.clone() {
                writeln!(f, "  {path}: {reason}")?;
            }
            let more = self.refused_count - shown.len();
            if more > 0 {
                writeln!(f, "  and {} more", thousands(more))?;
            }
        }
        Ok(())
    }
}

pub(super) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / (1024.0 * 1024.0);
    match mib {
        _ if mib < 1.0 => format!("{:.0} KiB", mib * 1024.0),
        _ if mib < 1024.0 => format!("{mib:.1} MiB"),
        _ => format!("{:.1} GiB", mib / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_formatted_for_a_terminal() {
        let summary = IngestSummary {
            rows: 5_216,
            file_bytes: 61_865_984,
            classes: [("NORMAL".to_owned(), 1_341), ("PNEUMONIA".to_owned(), 3_875)].into(),
            groups: 2_790,
            unmatched_groups: 12,
            duplicates: 3,
            conflicting_duplicates: 1,
            refused: (0..100).map(|n| Refused { path: format!("N/{n}"), reason: "broken".to_owned() }).collect(),
            refused_count: 1_200,
            seconds: 2.0,
            ..IngestSummary::of(Path::new("xrays.parquet"))
        };
        let text = summary.to_string();
        let head = "xrays.parquet: 5,216 images, 59.0 MiB (2.0 s, 2608 images/s)\n  \
                    NORMAL         1,341   25.7 %\n  \
                    PNEUMONIA      3,875   74.3 %\n\
                    groups: 2,790; the group regex does not match 12 file names; their group is NULL\n\
                    duplicates: 3 images are copies of another one (kept), 1 of them with another label\n\
                    refused: 1,200 files\n  N/0: broken\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with("  N/9: broken\n  and 1,190 more\n"), "{text}");
    }
}
