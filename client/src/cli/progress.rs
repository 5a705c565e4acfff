//! The progress of a long command, on stderr: a bar on a terminal, lines otherwise.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tusk::OnEvent;
use tusk_core::event::{Progress as WorkerProgress, RunEvent};
use tusk_core::ids::WorkerId;
use tusk_core::manifest::{strong_shortcuts, strong_uses};

/// The interval of progress lines if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the progress of training runs.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    shown: Arc<Mutex<Shown>>,
}

impl Progress {
    /// The callback for the events of runs.
    pub(crate) fn on_event(&self) -> OnEvent {
        let progress = self.clone();
        Arc::new(move |event| progress.lock().show(event))
    }

    /// Removes the bar, in case a run ended without a final event.
    pub(crate) fn clear(&self) {
        self.lock().meter.clear();
    }

    /// Starts a new line after Ctrl-C, because the terminal prints `^C` at the cursor.
    pub(crate) fn interrupted(&self) {
        self.clear();
        if stderr().is_terminal() {
            eprintln!();
        }
    }

    /// Prints a line, above the bar if there is one.
    pub(crate) fn line(&self, text: &str) {
        self.lock().meter.line(text);
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Shown {
    meter: Meter,
    /// The epochs that are requested. 0 if a model is adapted.
    epochs: u32,
    epoch: u32,
    /// The progress of each worker in this epoch.
    workers: BTreeMap<WorkerId, WorkerProgress>,
}

impl Shown {
    fn show(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { model, epochs, resumed_from, .. } => {
                self.epochs = *epochs;
                self.workers.clear();
                let from = match resumed_from {
                    0 => String::new(),
                    epoch => format!(", resuming after epoch {epoch}"),
                };
                self.meter.line(&format!("training '{model}': up to {epochs} epochs{from}"));
            }
            RunEvent::Profiled { data, seconds } => {
                self.meter.clear();
                let total = |rows: &BTreeMap<String, u64>| rows.values().sum::<u64>();
                let (train, held_out) = (total(&data.train_rows), total(&data.val_rows));
                let classes = data.train_rows.keys().cloned().collect::<Vec<_>>().join(", ");
                self.meter.line(&format!(
                    "{train} images to train on, {held_out} held out, {} unreadable; classes {classes}; \
                     read in {seconds:.1} s",
                    data.skipped
                ));
                if let Some(leak) = data.leak.filter(|leak| leak.rows() > 0) {
                    let advice = if leak.dropped > 0 { "" } else { "; on_leak = 'drop' leaves them out" };
                    self.meter.line(&format!("warning: {leak}{advice}"));
                }
                if let Some(strong) = data.shortcuts.as_deref().and_then(strong_shortcuts) {
                    self.meter.line(&format!(
                        "warning: a net may learn shortcuts, which tell the classes apart: {strong}; SHOW SHORTCUTS says what \
                         to do"
                    ));
                }
            }
            RunEvent::Adapting { model, images, skipped, seconds } => {
                self.meter.clear();
                self.epochs = 0;
                self.meter.line(&format!(
                    "{images} images to adapt '{model}' to, {skipped} unreadable; read in {seconds:.1} s"
                ));
            }
            RunEvent::Transferred { from, transfer } => {
                self.meter.clear();
                self.meter.line(&format!("starting from {from}: {transfer}"));
            }
            RunEvent::Progress(progress) => self.progress(progress),
            // The row of the epoch is printed in place of the bar.
            RunEvent::Epoch(_) => self.meter.clear(),
            RunEvent::Finished(manifest) => {
                self.meter.clear();
                let what = match manifest.members.len() {
                    0 => format!("epoch {} was best", manifest.best_epoch),
                    nets => format!("the mean of {nets} nets"),
                };
                self.meter.line(&format!("model '{}' is ready ({what})", manifest.name));
                if let Some(strong) = manifest.uses.as_deref().and_then(strong_uses) {
                    self.meter.line(&format!(
                        "note: within a class, its score follows {strong}; EVALUATE with show = 'shortcuts' measures other rows"
                    ));
                }
            }
        }
    }

    fn progress(&mut self, progress: &WorkerProgress) {
        if progress.epoch != self.epoch {
            self.epoch = progress.epoch;
            self.workers.clear();
        }
        self.workers.insert(progress.worker, progress.clone());
        let done = self.workers.values().map(|worker| worker.images).sum();
        let total = self.workers.values().map(|worker| worker.images_total).sum::<Option<u64>>();
        let rate: f64 = self.workers.values().map(|worker| worker.images_per_second).sum();
        let text = match (self.epoch, mean_loss(self.workers.values())) {
            (0, _) => format!("reading images, {rate:.0} images/s"),
            _ if self.epochs == 0 => format!("adapting, {rate:.0} images/s"),
            (epoch, Some(loss)) => format!("epoch {epoch}/{}, {rate:.0} images/s, loss {loss:.4}", self.epochs),
            (epoch, None) => format!("epoch {epoch}/{}, {rate:.0} images/s", self.epochs),
        };
        self.meter.update(&text, done, total);
    }
}

/// The mean loss of the workers that have one, weighted by images.
fn mean_loss<'a>(workers: impl Iterator<Item = &'a WorkerProgress>) -> Option<f64> {
    let seen = workers.filter_map(|worker| Some((worker.loss?, worker.images as f64)));
    let (sum, images) = seen.fold((0.0, 0.0), |(sum, all), (loss, images)| (sum + loss * images, all + images));
    (images > 0.0).then(|| sum / images)
}

/// Counts the images that a loop has processed.
pub(crate) struct Counter {
    meter: Meter,
    what: &'static str,
    start: Instant,
}

impl Counter {
    /// A counter. `what` names the operation, such as "drawing".
    pub(crate) fn new(what: &'static str) -> Self {
        Self { meter: Meter::default(), what, start: Instant::now() }
    }

    /// Shows that `done` of `total` images are processed.
    pub(crate) fn update(&mut self, done: usize, total: usize) {
        let rate = done as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        self.meter.update(&format!("{}, {rate:.0} images/s", self.what), done as u64, Some(total as u64));
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.meter.clear();
    }
}

/// A bar on a terminal, lines otherwise.
#[derive(Default)]
struct Meter {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Meter {
    fn update(&mut self, text: &str, done: u64, total: Option<u64>) {
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::new(0);
                match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                }
            });
            bar.set_length(total.unwrap_or(done));
            bar.set_message(text.to_owned());
            bar.set_position(done);
            return;
        }
        // Short operations print no line, so the first one waits too.
        if self.last_line.get_or_insert_with(Instant::now).elapsed() >= LINE_EVERY {
            self.last_line = Some(Instant::now());
            let of = total.map_or_else(String::new, |total| format!(" of {total}"));
            self.line(&format!("{text}, {done}{of} images"));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use tusk_core::ids::RunId;

    use super::*;

    #[test]
    fn the_mean_loss_is_weighted_by_images() {
        let worker = |images, loss| WorkerProgress {
            run: RunId::starting_at(0),
            worker: WorkerId(0),
            epoch: 1,
            images,
            images_before: 0,
            images_total: None,
            images_per_second: 1.0,
            loss,
        };
        let workers = [worker(30, Some(1.0)), worker(10, Some(2.0)), worker(50, None)];
        assert_eq!(mean_loss(workers.iter()), Some(1.25));
        assert_eq!(mean_loss(workers[2..].iter()), None);
    }
}
