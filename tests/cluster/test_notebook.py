"""The notebooks, run from their first cell to their last without a browser."""

import os

import nbclient
import nbformat
import pytest

from cluster import ROOT

NOTEBOOKS = ROOT / "notebooks"


# Pictures: two lines of X-rays, the curves, the predictions; ten sheets; the bars.
@pytest.mark.parametrize(
    ("name", "pictures", "words"),
    [
        ("01_first_model", 4, ("xrays_test", "train_loss", "roc_auc", "finished", "PNEUMONIA")),
        ("02_augmentation", 10, ()),
        ("03_paper", 1, ("mean_squared_error", "specificity", "svm")),
    ],
)
def test_a_notebook_runs_from_its_first_cell_to_its_last(shared, monkeypatch, name, pictures, words):
    monkeypatch.setenv("TUSK_URL", f"grpc://127.0.0.1:{shared.scheduler.port}")
    monkeypatch.setenv("TUSK_EPOCHS", "2")
    monkeypatch.setenv("TUSK_NETS", "svm")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=dict(os.environ))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) >= pictures
    assert not [output for output in outputs if output.output_type == "error"]
    text = "\n".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    for word in words:
        assert word in text


def test_no_output_is_committed_with_the_notebooks():
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert cells and all(not cell.outputs and cell.execution_count is None for cell in cells), path.name
