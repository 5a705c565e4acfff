//! `docs/datafusion-suite.md`.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use datafusion::DATAFUSION_VERSION;

use crate::engine::Engine;
use crate::rules::Rules;
use crate::verdict::{Judged, Tally, Verdict};

/// The page.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/datafusion-suite.md");

const ENGINES: [Engine; 2] = [Engine::Embedded, Engine::Cluster];

/// Writes the page from the verdicts.
pub(crate) fn write(judged: &Judged, rules: &Rules) -> Result<()> {
    fs::write(PATH, page(judged, rules)?).with_context(|| format!("cannot write {PATH}"))
}

fn page(judged: &Judged, rules: &Rules) -> Result<String> {
    let mut page = String::new();
    writeln!(
        page,
        "# DataFusion's test suite

`make test-datafusion` (`tests/datafusion`) writes this page. It runs the test files of DataFusion {DATAFUSION_VERSION}, which the \
crate datafusion-sqllogictest ships, on DataFusion itself, on an embedded session of Tusk, and over Flight SQL on a scheduler and \
two executors. `make test` runs a part of them.

A record is a statement with its expected answer. Records that DataFusion itself does not pass here are left out, for example \
those whose data no crate ships. `DATAFUSION_CHECKOUT=folder` adds the data of a checkout of DataFusion.

{}",
        table(judged, &ENGINES)
    )?;
    exceptions(&mut page, rules)?;
    failing(&mut page, judged)?;
    Ok(page)
}

/// The table of totals, with a column per engine.
pub(crate) fn table(judged: &Judged, engines: &[Engine]) -> String {
    let totals: Vec<(Engine, Tally)> = engines.iter().map(|engine| (*engine, judged.total(*engine))).collect();
    let mut rows = vec![totals.iter().map(|(engine, _)| engine.title().to_owned()).collect::<Vec<_>>()];
    let mut names = vec!["records"];
    let mut row = |name, cell: &dyn Fn(Engine, &Tally) -> String| {
        names.push(name);
        rows.push(totals.iter().map(|(engine, total)| cell(*engine, total)).collect());
    };
    row("passed by DataFusion", &|_, total| total.records().to_string());
    for verdict in Verdict::ALL.into_iter().filter(|verdict| !verdict.counts()) {
        row(verdict.meaning(), &|_, total| total.of(verdict).to_string());
    }
    row("compared", &|_, total| total.compared().to_string());
    for verdict in Verdict::ALL.into_iter().filter(|verdict| verdict.counts()) {
        row(verdict.meaning(), &|_, total| total.of(verdict).to_string());
    }
    row("**agree with DataFusion**", &|_, total| format!("**{:.2} %**", total.percent()));
    row("required", &|engine, _| format!("{:.1} %, no other rows", engine.bar_permille() as f64 / 10.0));
    let lines = names.iter().zip(rows).map(|(name, cells)| format!("| {name} | {} |\n", cells.join(" | ")));
    let mut lines: Vec<String> = lines.collect();
    lines.insert(1, format!("|---|{}\n", "---|".repeat(engines.len())));
    lines.concat()
}

fn exceptions(page: &mut String, rules: &Rules) -> Result<()> {
    writeln!(
        page,
        "## Exceptions

These are not counted (`tests/datafusion/suite.toml`). EXPLAIN is not counted where it shows another plan, since Tusk has operators \
of its own. An error in other words counts as agreement, since Tusk's errors also say what to do.

| files | statements | engines | reason |
|---|---|---|---|"
    )?;
    for skipped in &rules.skipped {
        writeln!(page, "| `{}` | not run | | {} |", skipped.files, skipped.reason)?;
    }
    for exception in &rules.exceptions {
        let sql = exception.sql.as_ref().map_or("all".to_owned(), |sql| format!("`{sql} …`"));
        let engines = if exception.engines.is_empty() { "both".to_owned() } else { exception.engines.join(", ") };
        writeln!(page, "| `{}` | {sql} | {engines} | {} |", exception.files, exception.reason)?;
    }
    writeln!(page)?;
    Ok(())
}

fn failing(page: &mut String, judged: &Judged) -> Result<()> {
    let failing: Vec<_> = judged.tallies.iter().filter(|(_, tally)| tally.failing() > 0).collect();
    if failing.is_empty() {
        return Ok(());
    }
    writeln!(page, "## Files with records that fail\n\n| engine | file | records |\n|---|---|---|")?;
    for ((engine, file), tally) in failing {
        let verdicts = Verdict::ALL.into_iter().filter(|verdict| verdict.counts() && !verdict.agrees());
        let counts = verdicts.filter(|verdict| tally.of(*verdict) > 0);
        let counts: Vec<String> =
            counts.map(|verdict| format!("{} {}", tally.of(verdict), verdict.meaning())).collect();
        writeln!(page, "| {} | `{}` | {} |", engine.name(), file.display(), counts.join(", "))?;
    }
    Ok(())
}
