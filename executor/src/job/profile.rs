//! Counts the rows of a shard and returns the hashes that detect leaks between the sides of a split.

use std::collections::BTreeMap;

use tusk_core::job::{Profile, ProfileReport, RowHashes, Rows, TaskReport};
use tusk_core::options::ModelSpec;
use tusk_core::random::derive;

use super::Work;
use crate::error::Result;
use crate::runtime::devices::has_bf16;
use crate::shard::{Row, Shard};

pub(super) async fn run(work: Work, job: Profile) -> Result<()> {
    work.compute(move |work| {
        work.report(&job, profile(&work.shard, &job, &work.worker.task.definition.spec))?;
        work.send(hashes(&work.shard).rows(work.worker.id))
    })
    .await
}

fn profile(shard: &Shard, job: &Profile, spec: &ModelSpec) -> ProfileReport {
    let selected = |rows| shard.select(rows, spec, &job.selection.dropped);
    let (training, held_out) = match job.selection.rows {
        Rows::All => (selected(Rows::All), Vec::new()),
        Rows::Training | Rows::HeldOut => (selected(Rows::Training), selected(Rows::HeldOut)),
    };
    let count = |rows: &[Row]| {
        let mut counts = BTreeMap::new();
        for row in rows {
            *counts.entry(shard.labels[row.label as usize].clone()).or_default() += 1;
        }
        counts
    };
    let hash = |row: &Row| derive(row.content, &shard.labels[row.label as usize], &[]);
    ProfileReport {
        task: TaskReport::of_rows(shard.rows.len() as u64),
        rows_seen: shard.rows_seen,
        train_rows: count(&training),
        val_rows: count(&held_out),
        null_labels: shard.null_labels,
        skipped: shard.skipped,
        unreadable: shard.unreadable.clone(),
        pixel_sum: training.iter().map(|row| row.sum).sum(),
        pixel_square_sum: training.iter().map(|row| row.square_sum).sum(),
        pixel_count: training.len() as u64 * shard.image_bytes as u64,
        fingerprint: shard.rows.iter().map(hash).fold(0, u64::wrapping_add),
        has_bf16: has_bf16(),
    }
}

fn hashes(shard: &Shard) -> RowHashes {
    let column = |hash: fn(&Row) -> u64| shard.rows.iter().map(hash).collect();
    RowHashes { contents: column(|row| row.content), looks: column(|row| row.perceptual), keys: column(|row| row.key) }
}
