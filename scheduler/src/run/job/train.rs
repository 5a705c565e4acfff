//! Trains an epoch slice on the workers, and averages the results.

use std::sync::Arc;
use std::time::Instant;

use tusk_core::ids::RunId;
use tusk_core::job::{EpochSlice, Selection, Train, TrainReport, TrainTask};
use tusk_core::manifest::FileRef;
use tusk_core::physical::TrainExec;

use super::Mean;
use crate::error::Result;
use crate::run::data::undecided;
use crate::run::training::Run;
use tusk_core::protocol::TrainingRequest;

impl Run {
    /// Trains an epoch slice from these weights, or from those of the seed. Returns the next version.
    pub(in crate::run) async fn train_slice(
        &self,
        epoch: u32,
        slice: EpochSlice,
        weights: Option<&FileRef>,
    ) -> Result<Mean<TrainReport>> {
        self.retrying(|| self.try_train_slice(epoch, slice, weights)).await
    }

    async fn try_train_slice(
        &self,
        epoch: u32,
        slice: EpochSlice,
        weights: Option<&FileRef>,
    ) -> Result<Mean<TrainReport>> {
        let job = Train { selection: self.selection(), epoch, slice, weights: weights.cloned() };
        let mut mean = self.mean(&format!("training epoch {epoch}"), &self.train_source, job).await?;
        let spec = &self.request.spec;
        let previous = match weights {
            Some(file) if spec.distribution.outer_optimizer.needs_previous() => {
                Some(self.context.store.read_state(file).await?)
            }
            _ => None,
        };
        let started = Instant::now();
        mean.state = spec.next_version(previous.as_ref(), mean.state);
        mean.aggregate_seconds += started.elapsed().as_secs_f64();
        Ok(mean)
    }
}

/// Returns the plan of a train job as EXPLAIN shows it, before any row is read.
pub(crate) fn explain(request: &TrainingRequest, workers: u32, store: &str) -> Result<String> {
    let selection = Selection { rows: request.training_rows(), dropped: Vec::new() };
    let task = TrainTask {
        run: RunId::from("explain".to_owned()),
        workers: request.spec.distribution.workers.unwrap_or(workers),
        threads: 1,
        definition: undecided(&request.spec),
        store: store.to_owned(),
        source_checksum: String::new(),
        job: Train { selection, epoch: 1, slice: EpochSlice::WHOLE, weights: None }.into(),
    };
    Ok(TrainExec::try_new(Arc::new(task), Arc::clone(&request.train))?.explain())
}
