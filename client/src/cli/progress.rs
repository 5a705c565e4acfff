//! What a training run shows while it runs: a bar on a terminal, lines otherwise. Always on stderr.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tusk::OnEvent;
use tusk_core::event::{Progress, RunEvent};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the events of runs.
pub(crate) fn on_event() -> OnEvent {
    let shown = Mutex::new(Shown::default());
    Arc::new(move |event| shown.lock().unwrap_or_else(PoisonError::into_inner).show(event))
}

#[derive(Default)]
struct Shown {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    epochs: u32,
}

impl Shown {
    fn show(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { model, epochs, resumed_from, .. } => {
                self.epochs = *epochs;
                let from = if *resumed_from > 0 { format!(", resuming after epoch {resumed_from}") } else { String::new() };
                self.line(&format!("training '{model}': up to {epochs} epochs{from}"));
            }
            RunEvent::Profiled { data, seconds } => {
                self.end_bar();
                let total = |rows: &std::collections::BTreeMap<String, u64>| rows.values().sum::<u64>();
                let (train, held_out) = (total(&data.train_rows), total(&data.val_rows));
                let classes = data.train_rows.keys().cloned().collect::<Vec<_>>().join(", ");
                self.line(&format!(
                    "{train} images to train on, {held_out} held out, {} unreadable; classes {classes}; read in {seconds:.1} s",
                    data.skipped
                ));
            }
            RunEvent::Progress(progress) => self.progress(progress),
            RunEvent::Epoch(_) => self.end_bar(),
            RunEvent::Finished(manifest) => {
                self.end_bar();
                self.line(&format!("model '{}' is ready (epoch {} was best)", manifest.name, manifest.best_epoch));
            }
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let text = text_of(progress, self.epochs);
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
                let bar = ProgressBar::new(0);
                if let Ok(style) = style {
                    bar.set_style(style);
                }
                bar
            });
            bar.set_length(progress.images_total.unwrap_or(progress.images));
            bar.set_position(progress.images);
            bar.set_message(text);
        } else if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            let of = progress.images_total.map_or_else(String::new, |total| format!(" of {total}"));
            self.line(&format!("{text}, {}{of} images", progress.images));
        }
    }

    fn line(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn text_of(progress: &Progress, epochs: u32) -> String {
    let rate = format!("{:.0} images/s", progress.images_per_second);
    match (progress.epoch, progress.loss) {
        (0, _) => format!("reading images, {rate}"),
        (epoch, Some(loss)) => format!("epoch {epoch}/{epochs}, {rate}, loss {loss:.4}"),
        (epoch, None) => format!("epoch {epoch}/{epochs}, {rate}"),
    }
}
