//! Leaks: rows that are on both sides of a split.

use std::collections::{BTreeSet, HashSet};

use tusk_core::job::RowHashes;
use tusk_core::manifest::Leak;
use tusk_core::options::{ModelSpec, OnLeak};
use tusk_core::physical::TaskOutput;
use tusk_core::{Error, Result};

/// Maximum number of rows whose hashes are compared. The hashes of a row take 24 bytes.
const ROWS_MAX: usize = 10_000_000;

/// Maximum number of rows that `on_leak = 'drop'` leaves out. Every task contains the list of them.
const DROPPED_MAX: usize = 100_000;

/// The hashes of the readable rows of a source, for at most [`ROWS_MAX`] rows.
#[derive(Debug, Default)]
pub(super) struct Census(RowHashes);

/// The hashes of one row.
#[derive(Clone, Copy, Debug)]
struct Seen {
    content: u64,
    /// Perceptual hash.
    look: u64,
    /// Hash of the group, or of the content if there is no group.
    key: u64,
}

impl Census {
    /// Adds one row of a task output.
    ///
    /// # Errors
    /// If the row contains no hashes.
    pub(super) fn fold(&mut self, output: &TaskOutput<'_>) -> Result<()> {
        self.0.fold(output, ROWS_MAX)
    }

    fn rows(&self) -> impl Iterator<Item = Seen> {
        let hashes = self.0.contents.iter().zip(&self.0.looks).zip(&self.0.keys);
        hashes.map(|((content, look), key)| Seen { content: *content, look: *look, key: *key })
    }

    fn is_whole(&self) -> bool {
        self.0.contents.len() < ROWS_MAX
    }
}

fn is_compared(train: &Census, validate: Option<&Census>) -> bool {
    train.is_whole() && validate.is_none_or(Census::is_whole)
}

/// Refuses a run that must act on leaks if there are too many rows to compare.
///
/// # Errors
/// [`Error::Data`].
pub(super) fn refuse_unseen(spec: &ModelSpec, name: &str, train: &Census, validate: Option<&Census>) -> Result<()> {
    let has_validation_rows = validate.is_some() || spec.holds_out();
    if spec.split.on_leak == OnLeak::Warn || !has_validation_rows || is_compared(train, validate) {
        return Ok(());
    }
    Err(Error::Data {
        message: format!(
            "{name} or its validation table has {ROWS_MAX} rows or more, too many to find leaks; \
             on_leak = 'warn' trains without this check"
        ),
    })
}

/// Returns the counts of training rows that are also among the validation rows, and the sorted content hashes of those
/// rows. `validate` is the table of VALIDATE ON. Without it, rows of `train` are held out. Returns `None` if there are
/// no validation rows, or too many rows to compare.
pub(super) fn find(spec: &ModelSpec, train: &Census, validate: Option<&Census>) -> Option<(Leak, Vec<u64>)> {
    if !is_compared(train, validate) {
        tracing::warn!(rows_max = ROWS_MAX, "too many rows to find leaks");
        return None;
    }
    let is_held_out = |row: &Seen| validate.is_none() && spec.is_held_out(row.key);
    let held_out: Vec<Seen> = match validate {
        Some(census) => census.rows().collect(),
        None if spec.holds_out() => train.rows().filter(is_held_out).collect(),
        None => return None,
    };
    let all = |hash: fn(&Seen) -> u64| held_out.iter().map(hash).collect::<HashSet<u64>>();
    let (contents, looks, keys) = (all(|row| row.content), all(|row| row.look), all(|row| row.key));
    let (mut leak, mut rows) = (Leak::default(), BTreeSet::new());
    for row in train.rows().filter(|row| !is_held_out(row)) {
        let count = if contents.contains(&row.content) {
            &mut leak.content
        } else if looks.contains(&row.look) {
            &mut leak.look
        } else if keys.contains(&row.key) {
            &mut leak.group
        } else {
            continue;
        };
        *count += 1;
        rows.insert(row.content);
    }
    Some((leak, rows.into_iter().collect()))
}

/// Checks all folds when the first one begins, so that a leak in a later fold is refused before hours of training.
///
/// # Errors
/// Those of [`act`].
pub(super) fn refuse_folds(spec: &ModelSpec, name: &str, train: &Census) -> Result<()> {
    if spec.split.on_leak == OnLeak::Fail && spec.split.fold == Some(0) {
        for (mut leak, rows) in
            (1..spec.split.folds.unwrap_or(1)).filter_map(|fold| find(&spec.of_fold(fold), train, None))
        {
            act(spec, name, &mut leak, rows)?;
        }
    }
    Ok(())
}

/// Acts on a leak as `on_leak` says, and returns the content hashes of the rows to leave out.
///
/// # Errors
/// [`Error::Data`] if `on_leak` is 'fail', or if too many rows would be left out.
pub(super) fn act(spec: &ModelSpec, name: &str, leak: &mut Leak, rows: Vec<u64>) -> Result<Vec<u64>> {
    if leak.rows() == 0 {
        return Ok(Vec::new());
    }
    match spec.split.on_leak {
        OnLeak::Warn => {
            tracing::warn!(rows = %name, %leak, "leak found; on_leak = 'drop' leaves its rows out");
            Ok(Vec::new())
        }
        OnLeak::Fail => Err(Error::Data {
            message: format!(
                "of {name}, {leak}. Leave them out with on_leak = 'drop', or keep a patient's images on one side with \
                 OPTIONS (\"group\" = 'column')"
            ),
        }),
        OnLeak::Drop if rows.len() > DROPPED_MAX => Err(Error::Data {
            message: format!(
                "of {name}, {leak}; on_leak = 'drop' leaves out {DROPPED_MAX} at most: split the table again"
            ),
        }),
        OnLeak::Drop => {
            leak.dropped = leak.rows();
            Ok(rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::options::Architecture;

    use super::*;

    fn census(rows: &[(u64, u64, u64)]) -> Census {
        let column = |hash: fn(&(u64, u64, u64)) -> u64| rows.iter().map(hash).collect();
        Census(RowHashes { contents: column(|row| row.0), looks: column(|row| row.1), keys: column(|row| row.2) })
    }

    #[test]
    fn a_row_is_counted_once_by_the_first_hash_that_matches() {
        let spec = ModelSpec::new(Architecture::CNN);
        // Content, perceptual hash, patient.
        let train = census(&[(1, 10, 100), (2, 11, 101), (3, 12, 102), (4, 13, 103), (5, 14, 104)]);
        let validate = census(&[(1, 10, 200), (6, 11, 201), (7, 17, 102)]);
        let (mut leak, rows) = find(&spec, &train, Some(&validate)).unwrap();
        assert_eq!((leak.content, leak.look, leak.group, leak.rows()), (1, 1, 1, 3));
        assert_eq!(rows, [1, 2, 3]);
        let dropped = spec.clone().with(|spec| spec.split.on_leak = OnLeak::Drop);
        assert_eq!(act(&dropped, "t", &mut leak, rows.clone()).unwrap(), [1, 2, 3]);
        assert_eq!(
            leak.to_string(),
            "3 training rows are among the validation rows, too: 1 by content, 1 by look, 1 by group; 3 are left out"
        );
        let fail = spec.clone().with(|spec| spec.split.on_leak = OnLeak::Fail);
        let message = act(&fail, "t", &mut Leak { content: 2, ..Leak::default() }, rows).unwrap_err().to_string();
        assert!(
            message.starts_with("of t, 2 training rows are among the validation rows, too: 2 by content"),
            "{message}"
        );
    }

    #[test]
    fn too_many_rows_to_compare_are_refused_unless_on_leak_is_warn() {
        let many = Census(RowHashes { contents: vec![0; ROWS_MAX], ..RowHashes::default() });
        let few = census(&[(1, 10, 100)]);
        let fail = ModelSpec::new(Architecture::CNN).with(|spec| spec.split.on_leak = OnLeak::Fail);
        let drop = fail.clone().with(|spec| spec.split.on_leak = OnLeak::Drop);
        let warn = fail.clone().with(|spec| spec.split.on_leak = OnLeak::Warn);
        for spec in [&fail, &drop] {
            assert!(refuse_unseen(spec, "t", &few, Some(&few)).is_ok());
            for (train, validate) in [(&many, None), (&few, Some(&many))] {
                let message = refuse_unseen(spec, "t", train, validate).unwrap_err().to_string();
                assert!(message.contains("10000000 rows or more"), "{message}");
            }
        }
        assert!(refuse_unseen(&warn, "t", &many, None).is_ok());
        let nothing = fail.with(|spec| spec.split.validation_fraction = 0.0);
        assert!(refuse_unseen(&nothing, "t", &many, None).is_ok(), "there are no validation rows");
        assert!(find(&warn, &many, None).is_none());
    }

    #[test]
    fn a_split_by_group_can_separate_copies_of_an_image() {
        let spec = ModelSpec::new(Architecture::CNN).with(|spec| spec.split.validation_fraction = 0.5);
        let rows: Vec<(u64, u64, u64)> = (0..200).map(|row| (row % 100, row % 100, row)).collect();
        let (leak, leaked) = find(&spec, &census(&rows), None).unwrap();
        let parted = (0..100).filter(|row| spec.is_held_out(*row) != spec.is_held_out(row + 100)).count();
        assert_eq!((leak.content as usize, leak.look, leak.group), (parted, 0, 0));
        assert_eq!(leaked.len(), parted);
        let mut folds = spec.clone();
        folds.split.folds = Some(4);
        folds.split.on_leak = OnLeak::Fail;
        // Two copies that only the last two folds separate.
        let pair = |fold: u32| (0..).find(|row| folds.of_fold(fold).is_held_out(*row)).unwrap();
        let parted = census(&[(1, 1, pair(2)), (1, 1, pair(3))]);
        assert_eq!(find(&folds.of_fold(0), &parted, None).unwrap().0.rows(), 0);
        assert!(refuse_folds(&folds.of_fold(0), "t", &parted).is_err());
        assert!(refuse_folds(&folds.of_fold(1), "t", &parted).is_ok(), "only the first fold checks");
        let nothing = spec.with(|spec| spec.split.validation_fraction = 0.0);
        assert!(find(&nothing, &census(&rows), None).is_none());
    }
}
