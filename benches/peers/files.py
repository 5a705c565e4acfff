"""What the Python parts of endtoend.py share: reading files into arrays, and ROC AUC."""

import pathlib

import numpy
from PIL import Image

SIDE, BATCH, EPOCHS, LEARNING_RATE = 128, 32, 3, 1e-3


def listed(folder):
    """Paths and labels (PNEUMONIA is 1) of the files below a folder."""
    paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return paths, numpy.array([path.parent.name == "PNEUMONIA" for path in paths], numpy.float32)


def pixels(path):
    """Grey levels `[side, side]` of a file."""
    image = Image.open(path)
    image.draft("L", (SIDE, SIDE))
    return numpy.array(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def roc_auc(truth, scores):
    """The share of pairs that are in the right order; ties count half."""
    order = numpy.argsort(scores, kind="stable")
    ranks, sorted_scores = numpy.empty(len(scores)), scores[order]
    first = numpy.searchsorted(sorted_scores, sorted_scores, "left")
    last = numpy.searchsorted(sorted_scores, sorted_scores, "right")
    ranks[order] = (first + last + 1) / 2
    positive = truth > 0.5
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))
