//! `docs/datafusion-suite.csv`: the verdicts by engine and file.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::engine::Engine;
use crate::verdict::{Judged, Tally, Verdict};

/// The file.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/datafusion-suite.csv");

fn header() -> String {
    let verdicts = Verdict::ALL.map(Verdict::name).join(",");
    format!("engine,file,{verdicts}")
}

/// Writes the verdicts.
pub(crate) fn write(judged: &Judged) -> Result<()> {
    let mut text = header() + "\n";
    for ((engine, file), tally) in &judged.tallies {
        let counts = Verdict::ALL.map(|verdict| tally.of(verdict).to_string()).join(",");
        writeln!(text, "{},{},{counts}", engine.name(), file.display())?;
    }
    fs::write(PATH, text).with_context(|| format!("cannot write {PATH}"))
}

/// Reads the verdicts of an earlier run.
pub(crate) fn read() -> Result<Judged> {
    let text =
        fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}; `make test-datafusion` writes it"))?;
    parse(&text).with_context(|| format!("{PATH} is invalid; `make test-datafusion` writes it anew"))
}

fn parse(text: &str) -> Result<Judged> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some(header().as_str()), "its first line is not '{}'", header());
    let mut judged = Judged::default();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [engine, file, counts @ ..] = fields.as_slice() else { bail!("'{line}' has too few fields") };
        ensure!(counts.len() == Verdict::ALL.len(), "'{line}' has {} fields", fields.len());
        let engine = [Engine::Embedded, Engine::Cluster].into_iter().find(|known| known.name() == *engine);
        let engine = engine.with_context(|| format!("'{line}' begins with no engine"))?;
        let mut tally = Tally::default();
        for (verdict, count) in Verdict::ALL.into_iter().zip(counts) {
            tally.add(verdict, count.parse::<usize>().with_context(|| format!("'{count}' in '{line}' is no number"))?);
        }
        judged.tallies.insert((engine, PathBuf::from(*file)), tally);
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_are_read_as_they_were_written() {
        let text = header() + "\nembedded,joins.slt,600,1,50,2,3,0,4,5\ncluster,a/b.slt,7,0,0,0,0,0,0,0\n";
        let judged = parse(&text).unwrap();
        let total = judged.total(Engine::Embedded);
        assert_eq!((total.of(Verdict::Passed), total.of(Verdict::Answer), total.records()), (600, 5, 665));
        assert_eq!(judged.total(Engine::Cluster).records(), 7);
        assert!(parse("engine,file\n").is_err());
        assert!(parse(&(header() + "\nembedded,joins.slt,1\n")).is_err());
    }
}
