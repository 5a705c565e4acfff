"""The long experiments of benches/experiments: a run with a result is skipped, and the page shows all results."""

import importlib
import sys

import pytest

from cluster import ROOT

FOLDERS = [ROOT / "benches" / "peers", ROOT / "benches", ROOT / "benches" / "experiments"]


def modules(*names):
    """Modules of benches/experiments by name. The `cluster` that they import is another than the one of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "cluster")
        for folder in FOLDERS:
            patch.syspath_prepend(folder)
        return [importlib.import_module(name) for name in names]


results, paper, ablation, study_shift, common = modules("results", "paper", "ablation", "study_shift", "common")


def figured(module, run, environment="a machine"):
    """A result of a run: what is not of the run is 0.25."""
    return {field: "0.25" for field in module.FIELDS} | {"environment": environment} | run


def test_a_run_is_found_by_all_its_options_whatever_their_type(tmp_path):
    path = tmp_path / "results.csv"
    assert results.read(path) == []
    run = {"model": "cnn", "image_size": 128, "options": "ema = 0.99, augment = 'rotate, shift'"}
    results.add(path, [*run, "accuracy"], run | {"accuracy": "0.9512"})
    results.add(path, [*run, "accuracy"], run | {"image_size": 64, "accuracy": "0.9000"})
    assert path.read_text().count("image_size") == 1, "one header"
    assert results.find(results.read(path), run)["accuracy"] == "0.9512"
    assert results.find(results.read(path), run | {"image_size": 64})["accuracy"] == "0.9000"
    for other in ({"image_size": 224}, {"model": "svm"}, {"options": "ema = 0.99"}):
        assert results.find(results.read(path), run | other) is None


def test_environments_have_marks_only_if_there_are_several():
    of = [{"environment": name} for name in ("a laptop", "a server", "a laptop")]
    assert results.environments(of[:1]) == ("a laptop", [""])
    assert results.environments(of) == ("a laptop (1); a server (2)", [" (1)", " (2)", " (1)"])


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Runs main() of a module without training: gives the runs that it would have trained, and the page."""

    def main(module, *words):
        runs = []

        def train(run):
            runs.append(run)
            return figured(module, run, environment="this machine")

        table, page = tmp_path / f"{module.__name__}.csv", tmp_path / f"{module.__name__}.md"
        given = ["--images", tmp_path, "--csv", table, "--out", page, *words]
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, given)])
        monkeypatch.setattr(module, "ingest", lambda images: None)
        monkeypatch.setattr(module, "train", train)
        module.main()
        return runs, page.read_text()

    return main


def rows_of(page, first):
    """The cells of the rows of a page's table whose first cell is this."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1, "a row of another length"
    return [row for row in rows if row[0] == first]


def test_the_paper_experiment_skips_runs_with_a_result_and_shows_all(monkeypatch, tmp_path, trained):
    plotted = []
    monkeypatch.setattr(paper, "plot", lambda rows, stem: plotted.extend(rows))
    run = {"model": "svm", "loss": "mean_squared_error", "seed": 42, "image_size": 128, "epochs": 8}
    there = figured(paper, run, environment="another machine") | {"accuracy": "0.9512", "accuracy_low": "0.9401"}
    results.add(tmp_path / "paper.csv", paper.FIELDS, there)
    # A run with other options, which the page does not show.
    other = {"loss": "binary_crossentropy", "epochs": 3, "accuracy": "0.7"}
    results.add(tmp_path / "paper.csv", paper.FIELDS, there | other)
    runs, page = trained(paper, "--only", "svm")
    assert [run["loss"] for run in runs] == ["binary_crossentropy", "categorical_crossentropy"]
    assert {run["epochs"] for run in runs} == {8}
    rows = rows_of(page, "svm")
    assert [row[1] for row in rows] == paper.LOSSES
    assert [row[-2] for row in rows] == ["0.25 (1)", "0.25 (1)", "0.25 (2)"], "seconds, and whose"
    assert rows[2][5] == "0.9512 (0.9401 to 0.25)" and "0.7 (" not in page
    assert "this machine (1); another machine (2)" in page
    assert rows_of(page, "the paper's CNN")[0][5] == paper.PAPER["accuracy"]
    assert len(plotted) == 3
    assert trained(paper, "--only", "svm")[0] == [], "all of it is there"


def test_the_ablation_skips_runs_with_a_result_and_shows_all(monkeypatch, tmp_path, trained):
    monkeypatch.setattr(ablation, "split_by_acquisition", lambda: None)
    run = {"row": "without class weights", "options": ablation.options("without class weights"), "seed": "42"}
    there = figured(ablation, run, environment="another machine") | {"balanced_accuracy": "0.9357"}
    results.add(tmp_path / "ablation.csv", ablation.FIELDS, there)
    results.add(tmp_path / "ablation.csv", ablation.FIELDS, there | {"row": "with mixup", "balanced_accuracy": "0.7001"})
    words = ["--seeds", "42,43", "--only", "without class weights", "with mixup"]
    runs, page = trained(ablation, *words)
    wanted = [("without class weights", "43"), ("with mixup", "42"), ("with mixup", "43")]
    assert [(run["row"], run["seed"]) for run in runs] == wanted
    assert "class_weights = 'none'" in runs[0]["options"] and "mixup = 0.2" in runs[1]["options"]
    first, second = rows_of(page, "without class weights")
    assert (first[1], first[2], first[3], first[-1]) == (f"`{run['options']}`", "42", "0.9357", "0.25 (1)")
    assert (second[2], second[3], second[-1]) == ("43", "0.25", "0.25 (2)")
    assert len(rows_of(page, "with mixup")) == 2 and "0.7001" not in page
    assert "another machine (1); this machine (2)" in page
    assert trained(ablation, *words)[0] == []


def test_the_best_threshold_of_scores_is_between_the_classes():
    scores = [(0.1, False), (0.15, False), (0.2, False), (0.6, False), (0.4, True), (0.8, True), (0.9, True)]
    assert common.best_threshold(scores) == pytest.approx(0.3)
    assert common.best_threshold([(0.5, False), (0.5, True), (0.7, True)]) == pytest.approx(0.6)


def test_the_study_of_shifts_skips_runs_with_a_result_and_shows_means(monkeypatch, tmp_path):
    fitted = []

    def fit(_, options, seed, table):
        fitted.append((options, seed, table))
        return 60.0

    metrics = {"rows": "466", "balanced_accuracy": "0.9", "roc_auc": "0.98", "threshold": "0.5", "best_threshold": "0.4"}
    monkeypatch.setattr(study_shift, "ingest", lambda images: None)
    monkeypatch.setattr(study_shift, "split_by_acquisition", lambda: None)
    monkeypatch.setattr(study_shift, "fit", fit)
    monkeypatch.setattr(study_shift, "on_variants", lambda _: {"as is": metrics, "wide": metrics | {"roc_auc": "0.94"}})
    monkeypatch.setattr(study_shift, "sql", lambda _: [metrics | {"roc_auc": "0.99"}])
    monkeypatch.setattr(study_shift, "measured_on", lambda: "this machine")
    table, page = tmp_path / "shift.csv", tmp_path / "shift.md"
    rows = list(study_shift.ROWS)[:2]
    for seeds, trained in (("42", 2), ("42,43", 2), ("42,43", 0)):
        fitted.clear()
        words = ["study_shift", "--images", tmp_path, "--csv", table, "--out", page, "--seeds", seeds, "--only", *rows]
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        study_shift.main()
        # Each run is a model of the near side and one of four fifths of the patients.
        assert len(fitted) == 2 * trained and {table for _, _, table in fitted} <= {"near", study_shift.TRAINING}
    text = page.read_text()
    assert f"| {rows[0]} | 2 | 0.9000 ± 0.0000 | 0.9600 ± 0.0000 | 0.9000 ± 0.0000 | 0.9400 ± 0.0000 |" in text
    assert "0.9900 ± 0.0000 | 60 |" in text and "| wide | 0.900 / 0.940 | 0.900 / 0.940 |" in text
    assert "| wide | 0.500 / 0.400 | 0.500 / 0.400 |" in text
    # The options of a row have changed: its results are not those of the row.
    monkeypatch.setitem(study_shift.ROWS, rows[0], "epochs = 1")
    fitted.clear()
    study_shift.main()
    assert len(fitted) == 4
