//! Tab completion: SQL keywords, functions, tables, columns and models, and files inside quotes.

use std::collections::BTreeSet;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::{Context, Helper, highlight::Highlighter, hint::Hinter, validate::Validator};
use tusk::TuskContext;
use tusk_core::options::{Architecture, option_defs};
use tusk_core::protocol::StatementHelp;

use super::commands::COMMANDS;

/// The common keywords of SQL. The cluster adds those of the statements about models.
const KEYWORDS: &str = "ALL ANALYZE AND AS ASC BETWEEN BY CASE CAST COLUMNS COPY COUNT CREATE CROSS CSV DATABASE DELETE DESC \
    DESCRIBE DISTINCT DROP ELSE END EXCEPT EXISTS EXPLAIN EXTERNAL FALSE FROM FULL FUNCTIONS GROUP HAVING IF ILIKE IMAGES IN \
    INNER INSERT INTERSECT INTERVAL INTO IS JOIN JSON LEFT LIKE LIMIT LOCATION NOT NULL OFFSET ON OPTIONS OR ORDER OUTER OVER \
    PARQUET PARTITION PARTITIONED REPLACE RIGHT SCHEMA SELECT SET SHOW STORED TABLE TABLES THEN TO TRUE UNION UNNEST USING \
    VALUES VIEW WHEN WHERE WITH";
/// The largest number of tables per schema whose names and columns are completed.
#[cfg(feature = "embedded")]
const TABLES_MAX: usize = 100;
/// The longest wait for the model names, so that a slow store does not block the prompt.
#[cfg(feature = "embedded")]
const MODELS_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// Completes words for the shell.
#[derive(Default)]
pub(crate) struct Words {
    keywords: BTreeSet<String>,
    /// Names as written in SQL.
    names: BTreeSet<String>,
    /// Names that also occur in quotes: models and columns.
    quoted: BTreeSet<String>,
    files: FilenameCompleter,
}

impl Words {
    /// Completes the keywords of SQL and of the given statements.
    pub(crate) fn new(statements: &[StatementHelp]) -> Self {
        let is_keyword = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
        let ours = statements.iter().flat_map(|statement| statement.syntax.split(|c: char| !c.is_alphanumeric()));
        let keywords = KEYWORDS.split_whitespace().chain(ours.filter(is_keyword)).map(str::to_owned).collect();
        Self { keywords, ..Self::default() }
    }

    /// Looks up the current names.
    pub(crate) async fn refresh(&mut self, context: &TuskContext) {
        self.quoted.clear();
        self.names = option_defs().map(|option| option.name.to_owned()).collect();
        self.names.extend(Architecture::NAMES.iter().map(|word| (*word).to_owned()));
        self.look_up(context).await;
        self.names.extend(self.quoted.iter().cloned());
    }

    /// Adds the functions of this version. Tables and models of a remote cluster are not looked up.
    #[cfg(not(feature = "embedded"))]
    #[expect(clippy::unused_async, reason = "the variant with the feature is async")]
    async fn look_up(&mut self, _context: &TuskContext) {
        let session = datafusion::execution::SessionStateBuilder::new().with_default_features().build();
        let plan_only: std::sync::Arc<dyn tusk_core::engine::Predictor> =
            std::sync::Arc::new(tusk_udfs::predict::PlanOnly);
        let ours = tusk_udfs::session::scalar_functions(&plan_only).into_iter().map(|f| f.name().to_owned());
        let ours = ours.chain(tusk_udfs::session::aggregate_functions().into_iter().map(|f| f.name().to_owned()));
        let theirs = session.scalar_functions().keys().chain(session.aggregate_functions().keys()).cloned();
        self.names.extend(ours.chain(theirs).map(|name| format!("{name}(")));
    }

    /// Adds functions, tables, columns and models.
    #[cfg(feature = "embedded")]
    async fn look_up(&mut self, context: &TuskContext) {
        let session = context.session();
        let state = session.state();
        let functions = state.scalar_functions().keys().chain(state.aggregate_functions().keys());
        self.names.extend(functions.map(|name| format!("{name}(")));
        let catalogs = session.catalog_names().into_iter().filter_map(|name| session.catalog(&name));
        let schemas = catalogs.flat_map(|catalog| {
            catalog.schema_names().into_iter().filter_map(move |name| Some((name.clone(), catalog.schema(&name)?)))
        });
        let schemas: Vec<_> = schemas.filter(|(name, _)| name != "information_schema").collect();
        for (_, schema) in schemas {
            for name in schema.table_names().into_iter().take(TABLES_MAX) {
                if let Ok(Some(table)) = schema.table(&name).await {
                    self.quoted.extend(table.schema().fields().iter().map(|field| field.name().clone()));
                }
                self.names.insert(name);
            }
        }
        if let Some(store) = context.store()
            && let Ok(Ok(models)) = tokio::time::timeout(MODELS_WAIT, store.model_names()).await
        {
            self.quoted.extend(models.iter().map(ToString::to_string));
        }
    }

    /// The start of the word before the cursor, and its completions.
    fn candidates(&self, before: &str) -> (usize, Vec<String>) {
        if let Some(typed) = before.strip_prefix('\\') {
            let fitting = COMMANDS.iter().filter(|(name, _)| name.starts_with(typed) && !typed.contains(' '));
            return (0, fitting.map(|(name, _)| format!("\\{name}")).collect());
        }
        let is_break = |c: char| !(c.is_alphanumeric() || c == '_');
        let start = before.char_indices().rev().find(|(_, c)| is_break(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        let word = &before[start..];
        if word.is_empty() {
            return (start, Vec::new());
        }
        let starts = |name: &str| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
        let names = if in_quotes(before) { &self.quoted } else { &self.names };
        let mut fitting: Vec<String> = names.iter().filter(|name| starts(name)).cloned().collect();
        if !in_quotes(before) {
            let lower = word.chars().all(|c| !c.is_uppercase());
            let case = |word: &str| if lower { word.to_lowercase() } else { word.to_owned() };
            fitting.extend(self.keywords.iter().filter(|keyword| starts(keyword)).map(|keyword| case(keyword)));
        }
        fitting.sort();
        fitting.dedup();
        (start, fitting)
    }
}

fn in_quotes(before: &str) -> bool {
    before.matches('\'').count() % 2 == 1
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = line.get(..pos).unwrap_or(line);
        let quote = if in_quotes(before) { before.rfind('\'') } else { None };
        let (start, words) = self.candidates(before);
        if let Some(quote) = quote.filter(|quote| words.is_empty() || before[*quote..].contains('/')) {
            // Pass the quote too: outside of quotes the completer escapes the shell's special characters.
            let (start, files) = self.files.complete_path(&before[quote..], before.len() - quote)?;
            return Ok((quote + start, files));
        }
        let pairs = words.into_iter().map(|word| Pair { display: word.clone(), replacement: word }).collect();
        Ok((start, pairs))
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}
impl Hinter for Words {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let syntax = "EVALUATE MODEL name ON { table | (query) }  SHOW MODELS".to_owned();
        let names = ["predict(", "predict_proba(", "pneumonia", "Élan"].map(str::to_owned).into();
        let words = Words::new(&[StatementHelp { syntax, ..StatementHelp::default() }]);
        Words { names, quoted: ["pneumonia".to_owned()].into(), ..words }
    }

    #[test]
    fn keywords_follow_the_case_that_was_typed() {
        assert_eq!(words().candidates("create mod"), (7, vec!["model".to_owned(), "models".to_owned()]));
        assert_eq!(words().candidates("EVAL"), (0, vec!["EVALUATE".to_owned()]));
    }

    #[test]
    fn models_are_completed_inside_quotes_and_other_words_are_not() {
        assert_eq!(words().candidates("SELECT predict('p"), (16, vec!["pneumonia".to_owned()]));
        assert_eq!(words().candidates("SELECT 'sele").1, Vec::<String>::new());
    }

    #[test]
    fn words_with_accents_are_completed() {
        assert_eq!(words().candidates("SELECT é").1, Vec::<String>::new());
        assert_eq!(words().candidates("é;Él"), (3, vec!["Élan".to_owned()]));
    }

    #[test]
    fn a_backslash_completes_the_commands_of_the_shell() {
        assert_eq!(words().candidates("\\ti"), (0, vec!["\\timing".to_owned()]));
        assert_eq!(words().candidates("\\timing o").1, Vec::<String>::new());
    }
}
