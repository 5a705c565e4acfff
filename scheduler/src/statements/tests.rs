use std::fmt::Write;

use super::*;

#[path = "../../../core/tests/damage/mod.rs"]
mod damage;

fn ours(sql: &str) -> ModelStatement {
    match one_statement(sql).unwrap() {
        Statement::Model(statement) => statement,
        Statement::DataFusion(other) => panic!("not recognised: {other}"),
    }
}

#[test]
fn every_statement_is_recognised_and_parsed_completely() {
    for (sql, name, tree) in [
        ("CREATE MODEL m TRAIN ON t", "CREATE MODEL", "name: ModelName(\"m\"), architecture: None, options: []"),
        (
            "CREATE OR REPLACE MODEL m USING cnn TRAIN ON a.b.c VALIDATE ON (SELECT * FROM v WHERE x > 1)",
            "CREATE MODEL",
            "or_replace: true, if_not_exists: false",
        ),
        (
            "create model if not exists \"M-1\" using resnet18 options (\"group\" = 'patient', epochs = 3, \
             learning_rate = 1e-3, early_stop = false) train on (select * from t limit 10)",
            "CREATE MODEL",
            "name: ModelName(\"M-1\"), architecture: Some(\"resnet18\"), options: [(\"group\", Text(\"patient\")), \
             (\"epochs\", Number(\"3\")), (\"learning_rate\", Number(\"1e-3\")), (\"early_stop\", Bool(false))]",
        ),
        (
            "CREATE MODEL m OPTIONS (learning_rate = range(1e-4, 0.01), augment = candidates('none', 'xray'), x = -4) \
             TRAIN ON t",
            "CREATE MODEL",
            "Range(\"1e-4\", \"0.01\")), (\"augment\", Candidates([Text(\"none\"), Text(\"xray\")])), (\"x\", \
             Number(\"-4\"))",
        ),
        (
            "CREATE MODEL e USING ensemble OPTIONS (members = 'a, b') VALIDATE ON t",
            "CREATE MODEL",
            "train_on: None, validate_on: Some(Table(",
        ),
        ("EXPLAIN CREATE MODEL m TRAIN ON t", "EXPLAIN CREATE MODEL", "ExplainCreateModel(CreateModel {"),
        ("EVALUATE MODEL m ON t OPTIONS (threshold = 0.3)", "EVALUATE MODEL", "(\"threshold\", Number(\"0.3\"))"),
        ("ADAPT MODEL m TO t", "ADAPT MODEL", "renamed: None, options: []"),
        (
            "adapt model m to (SELECT image FROM t) as \"m-2\" options (strength = 0.5)",
            "ADAPT MODEL",
            "renamed: Some(ModelName(\"m-2\")), options: [(\"strength\", Number(\"0.5\"))]",
        ),
        ("SHOW MODELS", "SHOW MODELS", "ShowModels"),
        ("SHOW SHORTCUTS FOR t OPTIONS (\"group\" = 'patient')", "SHOW SHORTCUTS", "(\"group\", Text(\"patient\"))"),
        ("SHOW TRAINING m", "SHOW TRAINING", "ModelName(\"m\")"),
        ("SHOW TRIALS m", "SHOW TRIALS", "ModelName(\"m\")"),
        ("DESCRIBE MODEL \"a.b\"", "DESCRIBE MODEL", "is_card: false"),
        ("DESC MODEL card CARD", "DESCRIBE MODEL", "name: ModelName(\"card\"), is_card: true"),
        ("CANCEL TRAINING m", "CANCEL TRAINING", "ModelName(\"m\")"),
        ("DROP MODEL IF EXISTS m", "DROP MODEL", "if_exists: true"),
        ("DROP MODEL \"if\"", "DROP MODEL", "if_exists: false, name: ModelName(\"if\")"),
    ] {
        let statement = ours(sql);
        assert_eq!(statement.verb.name, name, "{sql}");
        let found = format!("{statement:?}");
        assert!(found.contains(tree), "{sql}: {found}");
    }
}

#[test]
fn a_script_may_mix_statements_about_models_with_those_of_datafusion() {
    let script = "SELECT ';'; CREATE MODEL m TRAIN ON t;; SHOW TABLES; DROP MODEL m";
    let kinds: Vec<bool> = parse(script).unwrap().iter().map(|s| matches!(s, Statement::Model(_))).collect();
    assert_eq!(kinds, [false, true, false, true]);
    for sql in ["CREATE TABLE model AS SELECT 1", "SHOW TABLES", "DESCRIBE t", "EXPLAIN SELECT 1", "DROP TABLE model"] {
        assert!(matches!(parse(sql).unwrap()[0], Statement::DataFusion(_)), "{sql}");
    }
}

#[test]
fn a_syntax_error_says_line_column_and_what_was_expected() {
    for (sql, message) in [
        ("CREATE MODEL m\n  TRAIN FROM t", "syntax error: expected ON, found FROM at line 2, column 9"),
        (
            "CREATE MODEL m OPTIONS (epochs 3) TRAIN ON t",
            "syntax error: expected '=' after the option's name, found 3 at line 1, column 32",
        ),
        (
            "CREATE MODEL m",
            "syntax error: expected USING, OPTIONS or TRAIN ON, found the end of the statement at line 1, column 15",
        ),
        ("EVALUATE m ON t", "syntax error: expected MODEL, found m at line 1, column 10"),
        ("ADAPT MODEL m ON t", "syntax error: expected TO, found ON at line 1, column 15"),
        ("SHOW MODELS now", "syntax error: expected ';' or the end of the statement, found now at line 1, column 13"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2 at line 1, column 1"),
    ] {
        assert_eq!(check(sql).unwrap_err().to_string(), message);
    }
    let error = check("SELECT *\nFORM t WHERE").unwrap_err().to_string();
    assert!(error.starts_with("syntax error: ") && error.contains("at line 2, column"), "{error}");
}

#[test]
fn a_statement_that_changes_something_needs_the_right_to_train() {
    for (sql, right) in [
        ("CREATE MODEL m TRAIN ON t", Right::Train),
        ("EXPLAIN CREATE MODEL m TRAIN ON t", Right::Query),
        ("EVALUATE MODEL m ON t", Right::Query),
        ("ADAPT MODEL m TO t AS n", Right::Train),
        ("DROP MODEL m", Right::Train),
        ("SELECT 1", Right::Query),
        ("EXPLAIN SELECT 1", Right::Query),
        ("EXPLAIN DELETE FROM t", Right::Train),
        ("INSERT INTO t VALUES (1)", Right::Train),
        ("COPY (SELECT 1) TO 'f.parquet'", Right::Train),
        ("SET a.b = 1", Right::Train),
    ] {
        assert_eq!(one_statement(sql).unwrap().right(), right, "{sql}");
    }
}

/// Parses a text. It may fail, but must not panic.
fn read(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(parse(text));
    }
}

const VALID: [&str; 9] = [
    "CREATE OR REPLACE MODEL m USING cnn TRAIN ON a.b.c VALIDATE ON (SELECT * FROM v WHERE x > 1)",
    "create model if not exists \"M-1\" using resnet18 options (\"group\" = 'patient', epochs = 3, \
     learning_rate = -1e-3, early_stop = false) train on (select * from t limit 10)",
    "EXPLAIN CREATE MODEL m TRAIN ON t; SHOW MODELS; DESC MODEL \"if\"; SHOW TRAINING m; CANCEL TRAINING m",
    "EVALUATE MODEL m ON 'file.parquet' OPTIONS (threshold = 0.3, positive = 'it''s')",
    "ADAPT MODEL m TO (SELECT image FROM inbox) AS \"m.site-2\" OPTIONS (strength = 0.5, class_prior = true)",
    "DROP MODEL IF EXISTS m; DROP MODEL if",
    "SELECT path, predict('m', image) FROM inbox WHERE a IN (1, 2) -- a comment\nUNION ALL SELECT 1, 2",
    "CREATE EXTERNAL TABLE x STORED AS IMAGES LOCATION 'a' OPTIONS ('k' 'v'); COPY (SELECT 1) TO 'f.parquet'",
    "WITH a AS (SELECT CASE WHEN b THEN 1 ELSE 2 END FROM c) SELECT a[1].x::int, interval '1 day' FROM a /* b */",
];

#[test]
fn damaged_statements_do_not_panic() {
    damage::batter("sql", read, &VALID.map(|sql| sql.as_bytes().to_vec()));
    for entry in std::fs::read_dir(damage::corpus("sql")).unwrap() {
        read(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

#[test]
fn the_page_of_statements_equals_their_definitions() {
    let mut page = String::from(
        "# Statements\n\nTusk adds these statements to DataFusion's SQL. They run in the shell, over Flight SQL and from \
         Rust. This page is written by `scheduler/src/statements/tests.rs` from the statements' own definitions.\n",
    );
    for StatementHelp { name, syntax, meaning, rows, right } in help() {
        let meaning = ["evaluation.md", "models.md", "options.md"]
            .iter()
            .fold(meaning, |text, page| text.replace(&format!("docs/{page}"), &format!("[{page}]({page})")));
        write!(page, "\n## {name}\n\n```text\n{syntax}\n```\n\n{meaning}\n\n").unwrap();
        write!(page, "- **Rows**: {rows}\n- **Right**: `{right}`\n").unwrap();
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/statements.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE_GOLDEN=1 cargo test -p tusk-scheduler --lib statements renews docs/statements.md";
    assert!(written == page, "{renew}");
}
