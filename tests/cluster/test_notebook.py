"""The first notebook, run from its first cell to its last without a browser."""

import os

import nbclient
import nbformat

from cluster import ROOT

NOTEBOOK = ROOT / "notebooks" / "01_first_model.ipynb"


def test_the_first_notebook_runs_from_its_first_cell_to_its_last(shared, monkeypatch):
    monkeypatch.setenv("TUSK_URL", f"grpc://127.0.0.1:{shared.scheduler.port}")
    monkeypatch.setenv("TUSK_EPOCHS", "2")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=dict(os.environ))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 4, "two lines of X-rays, the curves, the predictions"
    assert not [output for output in outputs if output.output_type == "error"]
    text = "\n".join(output.get("data", {}).get("text/plain", "") for output in outputs)
    for word in ("xrays_test", "train_loss", "roc_auc", "finished", "PNEUMONIA"):
        assert word in text


def test_no_output_is_committed_with_the_notebooks():
    for path in NOTEBOOK.parent.glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert cells and all(not cell.outputs and cell.execution_count is None for cell in cells), path.name
