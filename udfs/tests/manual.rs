//! Checks that the generated parts of the manual are up to date: the pages of functions and options, and the tables of
//! metrics and nets.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tusk-udfs --test manual` renews them.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::logical_expr::Documentation;
use tusk_core::engine::Predictor;
use tusk_core::metrics::METRICS;
use tusk_core::nets::NETS;
use tusk_core::options::GROUPS;
use tusk_udfs::predict::PlanOnly;
use tusk_udfs::session::{aggregate_functions, scalar_functions};

fn page_of_functions() -> String {
    let predictor: Arc<dyn Predictor> = Arc::new(PlanOnly);
    let scalar = scalar_functions(&predictor);
    let aggregate = aggregate_functions();
    let names = scalar.iter().map(|f| f.name()).chain(aggregate.iter().map(|f| f.name()));
    let documentation = scalar.iter().map(|f| f.documentation()).chain(aggregate.iter().map(|f| f.documentation()));
    let mut page = String::from(
        "# Functions\n\nEvery function works in any query, on every executor, beside all of DataFusion's. This page is \
         written by `udfs/tests/manual.rs` from the functions' own documentation.\n",
    );
    let mut section = "";
    for (name, documentation) in names.zip(documentation) {
        let documentation: &Documentation = documentation.unwrap_or_else(|| panic!("{name} is not documented"));
        if documentation.doc_section.label != section {
            section = documentation.doc_section.label;
            write!(page, "\n## {section}\n").unwrap();
        }
        write!(page, "\n### `{}`\n\n{}\n", documentation.syntax_example, documentation.description).unwrap();
        for (argument, meaning) in documentation.arguments.iter().flatten() {
            write!(page, "\n- **{argument}**: {meaning}").unwrap();
        }
        let example = documentation.sql_example.as_ref().unwrap_or_else(|| panic!("{name} has no example"));
        write!(page, "\n\n{example}\n").unwrap();
    }
    page
}

fn page_of_options() -> String {
    let mut page = String::from(
        "# Options of CREATE MODEL\n\n`OPTIONS (key = value, ...)`; `\"group\"` stands in quotes because it is a \
         reserved word. This page is written by `udfs/tests/manual.rs` from `core/src/options/`: one entry per option, \
         in the file of its group.\n",
    );
    for group in GROUPS {
        write!(page, "\n## {}\n\n{}\n\n", group.title, group.meaning).unwrap();
        page.push_str("| option | default | accepts | meaning |\n|---|---|---|---|\n");
        for option in group.options {
            let (default, expected) = (option.default(), option.expected());
            writeln!(page, "| {} | {default} | {expected} | {} |", option.name, option.meaning).unwrap();
        }
    }
    page.push_str(
        "\n## Statement\n\nWhat belongs to the statement and not to the model.\n\n\
         | option | default | accepts | meaning |\n|---|---|---|---|\n\
         | resume | false | true or false | Go on from the last checkpoint of this model's run. |\n",
    );
    page
}

fn table_of_metrics() -> String {
    let mut table = String::from("| metric | meaning | interval | classes |\n|---|---|---|---|\n");
    for metric in METRICS {
        let interval = if metric.has_interval() { "yes" } else { "no" };
        let classes = if metric.is_for_many_classes() { "any" } else { "two" };
        writeln!(table, "| `{}` | {} | {interval} | {classes} |", metric.name, metric.meaning).unwrap();
    }
    table
}

fn table_of_nets() -> String {
    let mut table = String::from("| net | what it is | source | parameters | image side |\n|---|---|---|---|---|\n");
    for net in NETS {
        let (paper, parameters) = (net.paper.unwrap_or("Tusk"), net.parameters());
        let parameters =
            if parameters < 100_000 { parameters.to_string() } else { format!("{:.2} M", parameters as f64 / 1e6) };
        let side = net.defaults.image_size;
        writeln!(table, "| `{}` | {} | {paper} | {parameters} | {side} |", net.name, net.summary).unwrap();
    }
    table
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

/// Checks the part of a page between these comments.
fn check_between(file: &str, [start, end]: [&str; 2], part: &str) {
    let written = std::fs::read_to_string(path(file)).unwrap();
    let (before, rest) = written.split_once(start).unwrap_or_else(|| panic!("docs/{file} has no {start}"));
    let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("docs/{file} has no {end}"));
    check(file, &format!("{before}{start}\n{part}{end}{after}"));
}

fn check(file: &str, page: &str) {
    let path = path(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/{file} is not what the code says; UPDATE_GOLDEN=1 cargo test -p tusk-udfs --test manual renews it"
    );
}

#[test]
fn the_page_of_functions_matches_the_code() {
    check("functions.md", &page_of_functions());
}

#[test]
fn the_page_of_options_matches_the_code() {
    check("options.md", &page_of_options());
}

#[test]
fn the_table_of_metrics_matches_the_code() {
    let comments = ["<!-- metrics: written by udfs/tests/manual.rs -->", "<!-- end of metrics -->"];
    check_between("evaluation.md", comments, &table_of_metrics());
}

#[test]
fn the_table_of_nets_matches_the_code() {
    let comments = ["<!-- nets: written by udfs/tests/manual.rs -->", "<!-- end of nets -->"];
    check_between("models.md", comments, &table_of_nets());
}
