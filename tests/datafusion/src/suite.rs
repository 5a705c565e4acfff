//! Runs the test files: each on DataFusion first, then on the engines of Tusk, every time in new sessions.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use datafusion_sqllogictest::{DataFusion, TestContext, setup_scratch_dir};
use futures::{FutureExt, StreamExt, TryStreamExt};
use indicatif::ProgressBar;

use crate::engine::{Cluster, Database, Engine, Flight, Pipe, PipeSettings};
use crate::fixtures;
use crate::records::{self, Outcome, Tested};
use crate::rules::Rules;
use crate::say::say;
use crate::verdict::Judged;
use crate::workspace::Workspace;

/// What is run, and where.
pub(crate) struct Suite {
    pub(crate) rules: Rules,
    pub(crate) workspace: Workspace,
    pub(crate) engines: Vec<Engine>,
    pub(crate) cluster: Cluster,
    /// The folder of Tusk's programs.
    pub(crate) programs: PathBuf,
    /// The longest time of a statement.
    pub(crate) limit: Duration,
    /// Whether to print the records that DataFusion itself fails.
    pub(crate) shows_datafusion: bool,
}

impl Suite {
    /// Runs files, several at a time.
    pub(crate) async fn run(&self, files: Vec<PathBuf>, jobs: usize) -> Result<Judged> {
        let count = files.len();
        let runs = futures::stream::iter(files).map(|file| Box::pin(async move { self.file(&file).await }));
        let mut runs = runs.buffer_unordered(jobs.max(1)).enumerate().map(|(place, run)| run.map(|run| (place, run)));
        let mut all = Judged::default();
        while let Some((place, (line, judged))) = runs.try_next().await? {
            say(&format!("[{}/{count}] {line}", place + 1));
            all.add(judged);
        }
        Ok(all)
    }

    /// Runs a file, and returns a line about it and the verdicts.
    async fn file(&self, file: &Path) -> Result<(String, Judged)> {
        let started = Instant::now();
        let mut judged = Judged::default();
        let context = AssertUnwindSafe(Box::pin(TestContext::try_new_for_test_file(file))).catch_unwind().await;
        let Ok(Some(context)) = context else {
            return Ok((format!("{}: not run; DataFusion's runner cannot set it up", file.display()), judged));
        };
        let name = file.with_extension("").display().to_string().replace('/', "-");
        let tables = self.workspace.folder(&format!("tables/{name}"))?;
        let set_up = Box::pin(fixtures::set_up(context.session_ctx(), &tables)).await?;
        setup_scratch_dir(file)?;
        let datafusion = DataFusion::new(context.session_ctx().clone(), file.to_owned(), ProgressBar::hidden());
        let datafusion = Database::of_datafusion(datafusion, self.workspace.root_in_results());
        let expected = Box::pin(records::run(file, datafusion, self.limit)).await?;
        let mut line = self.line(file, &expected);
        for engine in self.engines.iter().copied() {
            setup_scratch_dir(file)?;
            let database = Box::pin(self.open(engine, &name, &set_up)).await;
            let database =
                database.with_context(|| format!("cannot open a session of the engine {}", engine.name()))?;
            let tested = Box::pin(records::run(file, database, self.limit)).await?;
            let before = judged.failing.len();
            judged.judge(&self.rules, engine, file, &expected, tested);
            line += &format!(", {} fails {}", engine.name(), judged.failing.len() - before);
        }
        line += &format!(" ({:.1} s)", started.elapsed().as_secs_f64());
        Ok((line, judged))
    }

    /// What is said of DataFusion's own run.
    fn line(&self, file: &Path, expected: &[Tested]) -> String {
        let mut passed = 0;
        for tested in expected {
            match &tested.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed(failure) if self.shows_datafusion => {
                    say(&format!(
                        "datafusion | {} | {:?} | {}",
                        tested.place,
                        failure.kind,
                        first_line(&failure.message)
                    ));
                }
                Outcome::Failed(_) | Outcome::Skipped => {}
            }
        }
        format!("{}: DataFusion passes {passed} of {} records", file.display(), expected.len())
    }

    async fn open(&self, engine: Engine, name: &str, set_up: &[String]) -> Result<Database> {
        let root = self.workspace.root_in_results();
        let set_up = set_up.to_vec();
        Ok(match engine {
            Engine::Embedded => {
                let settings = PipeSettings {
                    program: pipe_program(&self.programs),
                    home: self.workspace.home(),
                    store: self.workspace.folder("stores")?.join(name),
                    temporary: self.workspace.folder("temporary")?,
                    log: self.workspace.folder("logs")?.join(format!("{name}.log")),
                    limit: self.limit,
                    set_up,
                };
                Database::of_tusk(Box::new(Pipe::new(settings)), root)
            }
            Engine::Cluster => {
                let port = self.cluster.port().await?;
                Database::of_tusk(Box::new(Flight::open(port, self.limit, &set_up).await?), root)
            }
        })
    }
}

/// The program that has the session of the embedded engine.
pub(crate) fn pipe_program(programs: &Path) -> PathBuf {
    programs.join("pipe")
}

/// The first line of a text that is not empty, for a list.
pub(crate) fn first_line(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
