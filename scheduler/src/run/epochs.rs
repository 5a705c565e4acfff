//! The end of an epoch, in every mode: its report, the best epoch so far, the run record, and the kept checkpoints.

use std::time::Instant;

use tusk_core::event::RunEvent;
use tusk_core::ids::ModelName;
use tusk_core::manifest::{EpochReport, EpochTally, FileRef};

use super::progress;
use super::training::Run;
use super::validation::Validation;
use crate::error::Result;
use crate::metrics;

impl Run {
    /// Returns the checkpoints that the run may still read.
    pub(super) fn checkpoints(&self) -> Vec<&FileRef> {
        let unvalidated = self.record.exchange.iter().flat_map(|exchange| &exchange.unvalidated);
        let unvalidated = unvalidated.map(|waiting| &waiting.file);
        self.record.last.iter().chain(&self.record.best).chain(unvalidated).collect()
    }

    /// Records an epoch whose checkpoint is validated. Its duration is the time since `started`, or else the tally's.
    pub(super) async fn enter(
        &mut self,
        tally: EpochTally,
        file: FileRef,
        validation: &Validation,
        started: Option<Instant>,
    ) -> Result<()> {
        let EpochTally { epoch, mut timing, .. } = tally;
        validation.reports.iter().for_each(|report| timing += report.task.timing);
        let definition = &self.record.definition;
        let mut report = EpochReport {
            epoch,
            train_loss: tally.loss_sum / tally.rows.max(1) as f64,
            val_loss: validation.loss(definition),
            val_accuracy: validation.accuracy(definition),
            val_roc_auc: validation.roc_auc(definition),
            learning_rate: tally.learning_rate,
            images: tally.rows,
            skipped: self.record.data.skipped,
            workers: self.record.workers,
            child: self.child.clone(),
            decoded: tally.decoded + validation.reports.iter().map(|r| r.task.decoded).sum::<u64>(),
            seconds: 0.0,
            timing,
        };
        let bookkeeping_started = Instant::now();
        self.record.epochs.push(report.clone());
        if progress::best(&self.request.spec, &self.record.epochs).is_some_and(|best| best.epoch == epoch) {
            self.record.best = Some(file.clone());
            self.record.best_epoch = Some(epoch);
        }
        if self.record.exchange.is_none() {
            self.record.last = Some(file);
        }
        report.timing.checkpoint += bookkeeping_started.elapsed().as_secs_f64();
        report.seconds = started.map_or(tally.seconds, |started| started.elapsed().as_secs_f64());
        if let Some(last) = self.record.epochs.last_mut() {
            *last = report.clone();
        }
        self.context.store.write_run(&self.record).await?;
        self.context.store.keep_checkpoints(&self.record.model, &self.checkpoints()).await?;
        self.context.active.epoch_done(&self.record.run, &report);
        observe(&self.record.model, &report);
        self.emit(RunEvent::Epoch(report));
        Ok(())
    }
}

/// Updates the metrics of finished epochs.
fn observe(model: &ModelName, report: &EpochReport) {
    let timing = &report.timing;
    let workers = f64::from(report.workers.max(1));
    // The timings are sums over the workers. The rest of the wall time was spent in the cluster.
    let (decode, train, validate) = (timing.decode / workers, timing.train / workers, timing.validate / workers);
    let exchange = timing.exchange / workers;
    let known = decode + train + validate + exchange + timing.aggregate + timing.checkpoint;
    let parts = [
        ("decode", decode),
        ("train", train),
        ("validate", validate),
        ("exchange", exchange),
        ("aggregate", timing.aggregate),
        ("checkpoint", timing.checkpoint),
        ("other", (report.seconds - known).max(0.0)),
    ];
    for (part, seconds) in parts {
        metrics::EPOCH_SECONDS.with_label_values(&[part]).inc_by(seconds.max(0.0));
    }
    metrics::EPOCHS.inc();
    metrics::IMAGES_TRAINED.inc_by(report.images);
    metrics::IMAGES_DECODED.inc_by(report.decoded);
    metrics::RUN_EPOCH.with_label_values(&[model.as_str()]).set(i64::from(report.epoch));
    let decoded = i64::try_from(report.decoded).unwrap_or(i64::MAX);
    metrics::RUN_DECODED.with_label_values(&[model.as_str()]).set(decoded);
}
