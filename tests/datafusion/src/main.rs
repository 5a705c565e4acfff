//! Runs DataFusion's own tests against Tusk. `make test-datafusion` calls it and writes `docs/datafusion-suite.md`.

mod engine;
mod fixtures;
mod page;
mod records;
mod results;
mod rules;
mod say;
mod suite;
mod verdict;
mod workspace;

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::engine::{Cluster, Engine};
use crate::rules::Rules;
use crate::say::say;
use crate::suite::{Suite, first_line, pipe_program};
use crate::verdict::Judged;
use crate::workspace::Workspace;

/// The stack of a thread. An unoptimized DataFusion needs more than the default of 2 MiB.
const STACK_BYTES: usize = 16 << 20;

/// Runs DataFusion's own tests against Tusk.
#[derive(Debug, Parser)]
#[command(about, long_about = None)]
struct Args {
    /// Only these test files, such as `joins.slt,array/`. A name that ends in a slash is a folder.
    #[arg(long, value_delimiter = ',', conflicts_with = "subset")]
    files: Vec<String>,
    /// Only the files that `make test` runs, about five minutes.
    #[arg(long)]
    subset: bool,
    /// The engines of Tusk.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Embedded, Engine::Cluster])]
    engine: Vec<Engine>,
    /// Run DataFusion alone, and print the records that it fails.
    #[arg(long, conflicts_with = "engine")]
    datafusion: bool,
    /// Test files that run at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// The longest time of a statement. A statement that takes longer fails.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    timeout_seconds: u64,
    /// A checkout of DataFusion with its submodules, for data that no crate ships.
    #[arg(long, value_name = "DIR", env = "DATAFUSION_CHECKOUT")]
    checkout: Option<PathBuf>,
    /// The folder of Tusk's programs. By default, the folder of this program.
    #[arg(long, value_name = "DIR", env = "TUSK_BIN")]
    bin: Option<PathBuf>,
    /// Run nothing: write the page from the results of the last run of all files.
    #[arg(long)]
    render: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.render {
        page::write(&results::read()?, &Rules::read()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build()?;
    runtime.block_on(Box::pin(run(args)))
}

async fn run(args: Args) -> Result<ExitCode> {
    let rules = Rules::read()?;
    let programs = match args.bin {
        Some(bin) => bin.canonicalize().with_context(|| format!("there is no folder {}", bin.display()))?,
        None => workspace::programs()?,
    };
    let engines = if args.datafusion { Vec::new() } else { args.engine };
    check_programs(&programs, &engines)?;
    let checkout = args.checkout.filter(|checkout| !checkout.as_os_str().is_empty());
    let workspace = Workspace::make(checkout.as_deref())?;
    let all = workspace.test_files()?.into_iter().filter(|file| !rules.is_skipped(file)).collect();
    let wanted = if args.subset { &rules.subset } else { &args.files };
    let files = chosen(all, wanted)?;
    let is_whole = wanted.is_empty() && engines.len() == 2;
    // The test files name their data relative to this folder.
    let home = workspace.home();
    env::set_current_dir(&home).with_context(|| format!("cannot enter {}", home.display()))?;
    let suite = Suite {
        cluster: Cluster::new(programs.clone(), home, workspace.folder("cluster")?),
        limit: Duration::from_secs(args.timeout_seconds),
        shows_datafusion: args.datafusion,
        rules,
        workspace,
        engines,
        programs,
    };
    let judged = Box::pin(suite.run(files, args.jobs)).await?;
    let is_good = summarize(&suite, &judged, is_whole);
    if is_whole {
        results::write(&judged)?;
        page::write(&judged, &suite.rules)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files to run. `wanted` names files and folders; all files if it is empty.
fn chosen(all: Vec<PathBuf>, wanted: &[String]) -> Result<Vec<PathBuf>> {
    let mut chosen = BTreeSet::new();
    for pattern in wanted {
        let before = chosen.len();
        chosen.extend(all.iter().filter(|file| rules::is_in(file, pattern)).cloned());
        if chosen.len() == before {
            bail!("there is no test file '{pattern}', or it is skipped (suite.toml), or it is named twice");
        }
    }
    Ok(if wanted.is_empty() { all } else { chosen.into_iter().collect() })
}

fn check_programs(programs: &Path, engines: &[Engine]) -> Result<()> {
    for engine in engines {
        let needed = match engine {
            Engine::Embedded => vec![pipe_program(programs)],
            Engine::Cluster => vec![programs.join("tusk-scheduler"), programs.join("tusk-executor")],
        };
        for program in needed {
            ensure!(program.is_file(), "{} is missing; `make test-datafusion` builds it", program.display());
        }
    }
    Ok(())
}

/// Prints the records that fail and the totals. Returns whether every engine reaches its bar.
fn summarize(suite: &Suite, judged: &Judged, is_whole: bool) -> bool {
    for failing in &judged.failing {
        let (sql, message) = (first_line(&failing.sql), first_line(&failing.message));
        say(&format!(
            "{} | {} | {} | {sql} | {message}",
            failing.engine.name(),
            failing.place,
            failing.verdict.meaning()
        ));
    }
    say(&page::table(judged, &suite.engines));
    for (place, exception) in suite.rules.exceptions.iter().enumerate() {
        if is_whole && !judged.used.contains(&place) {
            say(&format!("suite.toml: no record of {} needs this exception: {}", exception.files, exception.reason));
        }
    }
    let missed = suite.engines.iter().filter(|engine| !judged.total(**engine).reaches(**engine));
    let missed: Vec<&str> = missed.map(|engine| engine.name()).collect();
    if !missed.is_empty() {
        say(&format!("the suite failed: {} differs from DataFusion too often, or in rows", missed.join(" and ")));
    }
    missed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_chosen_by_name_and_by_folder() {
        let all = || ["array/a.slt", "array/b.slt", "joins.slt"].map(PathBuf::from).to_vec();
        let chosen = |wanted: &[&str]| chosen(all(), &wanted.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(chosen(&[]).unwrap().len(), 3);
        assert_eq!(chosen(&["array/"]).unwrap().len(), 2);
        assert_eq!(chosen(&["joins.slt"]).unwrap(), [PathBuf::from("joins.slt")]);
        assert!(chosen(&["nothing.slt"]).unwrap_err().to_string().contains("nothing.slt"));
    }
}
