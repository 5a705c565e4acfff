//! `suite.toml`: the files of the subset, those that are not run, and the records that may fail.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::engine::Engine;

/// The file.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suite.toml");

/// The rules of the suite.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// The files that `--subset` runs.
    pub(crate) subset: Vec<String>,
    /// Files that are not run.
    pub(crate) skipped: Vec<Skipped>,
    /// Records that may fail.
    pub(crate) exceptions: Vec<Exception>,
}

/// A file or folder that is not run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skipped {
    pub(crate) files: String,
    pub(crate) reason: String,
}

/// Records that may fail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    pub(crate) files: String,
    /// The beginning of their statements, in any case and with any white space.
    pub(crate) sql: Option<String>,
    /// The engines; all if it is empty.
    #[serde(default)]
    pub(crate) engines: Vec<String>,
    pub(crate) reason: String,
}

impl Rules {
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
        let rules: Self = toml::from_str(&text).with_context(|| format!("{PATH} is invalid"))?;
        for exception in &rules.exceptions {
            for engine in &exception.engines {
                let is_known = [Engine::Embedded, Engine::Cluster].iter().any(|known| known.name() == engine);
                ensure!(is_known, "{PATH}: there is no engine '{engine}'; use embedded or cluster");
            }
        }
        Ok(rules)
    }

    pub(crate) fn is_skipped(&self, file: &Path) -> bool {
        self.skipped.iter().any(|skipped| is_in(file, &skipped.files))
    }

    /// The exception that covers a record, as its place in [`Self::exceptions`].
    pub(crate) fn exception(&self, engine: Engine, file: &Path, sql: &str) -> Option<usize> {
        self.exceptions.iter().position(|exception| exception.covers(engine, file, sql))
    }
}

impl Exception {
    fn covers(&self, engine: Engine, file: &Path, sql: &str) -> bool {
        let begins_so = |begin: &String| normalized(sql).starts_with(&normalized(begin));
        is_in(file, &self.files)
            && (self.engines.is_empty() || self.engines.iter().any(|name| name == engine.name()))
            && self.sql.as_ref().is_none_or(begins_so)
    }
}

/// Whether a file is `pattern`, or below it if it is a folder.
pub(crate) fn is_in(file: &Path, pattern: &str) -> bool {
    match pattern.strip_suffix('/') {
        Some(folder) => file.starts_with(folder),
        None => file == Path::new(pattern),
    }
}

fn normalized(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_can_be_read_and_name_each_file_once() {
        let rules = Rules::read().unwrap();
        let mut subset = rules.subset.clone();
        subset.sort();
        subset.dedup();
        assert_eq!(subset.len(), rules.subset.len());
        assert!(rules.is_skipped(Path::new("spark/math/abs.slt")));
        assert!(!rules.is_skipped(Path::new("joins.slt")));
    }

    #[test]
    fn an_exception_covers_its_files_statements_and_engines() {
        let exception = Exception {
            files: "string/".to_owned(),
            sql: Some("SELECT  substr(".to_owned()),
            engines: vec!["cluster".to_owned()],
            reason: String::new(),
        };
        let covers = |engine, file: &str, sql| exception.covers(engine, Path::new(file), sql);
        assert!(covers(Engine::Cluster, "string/string.slt", "select\n  SUBSTR('a', 1)"));
        assert!(!covers(Engine::Embedded, "string/string.slt", "SELECT substr('a', 1)"));
        assert!(!covers(Engine::Cluster, "strings.slt", "SELECT substr('a', 1)"));
        assert!(!covers(Engine::Cluster, "string/string.slt", "SELECT 1"));
        assert!(is_in(Path::new("string/string.slt"), "/") && is_in(Path::new("joins.slt"), "/"));
    }
}
