"""Prints the figures that tusk-core's and tusk-udfs' metric tests hold as constants.

    python -m venv venv && venv/bin/pip install scikit-learn scipy numpy && venv/bin/python sklearn_metrics.py

The data are written out here and again in the tests; the two must stay the same.
"""

import warnings

import numpy as np
import sklearn
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import bootstrap
from sklearn import metrics as m
from sklearn.calibration import calibration_curve

warnings.simplefilter("ignore")
NAN = {"zero_division": np.nan}

# Twenty rows, with ties inside a class and across classes, none of them perfectly separated.
TRUTH = [0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1]
SCORE = [0.10, 0.40, 0.35, 0.80, 0.80, 0.80, 0.20, 0.50, 0.50, 0.30, 0.90, 0.65, 0.40, 0.05, 0.95, 0.55, 0.70, 0.20, 0.20, 1.00]
THRESHOLD = 0.4

# A second score of the same rows, worse than the first.
OTHER = [0.30, 0.60, 0.20, 0.70, 0.75, 0.65, 0.10, 0.80, 0.55, 0.45, 0.65, 0.15, 0.50, 0.25, 0.90, 0.50, 0.70, 0.60, 0.65, 1.00]

# Twelve rows of three classes; every number is a multiple of 1/16, which f32 holds exactly.
MULTI_TRUTH = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
MULTI_PROBS = np.array(
    [
        [12, 2, 2], [8, 6, 2], [4, 10, 2], [6, 5, 5],
        [2, 12, 2], [8, 4, 4], [3, 9, 4],
        [1, 1, 14], [4, 4, 8], [9, 3, 4], [2, 5, 9], [1, 9, 6],
    ]
) / 16


def show(name, value):
    print(f"{name} = {float(value)!r}")


def binary(name, truth, predicted):
    show(f"{name}.accuracy", m.accuracy_score(truth, predicted))
    show(f"{name}.precision", m.precision_score(truth, predicted, **NAN))
    show(f"{name}.recall", m.recall_score(truth, predicted, **NAN))
    show(f"{name}.specificity", m.recall_score(truth, predicted, pos_label=0, **NAN))
    show(f"{name}.f1", m.f1_score(truth, predicted, **NAN))


def multi(name, truth, predicted, labels):
    show(f"{name}.accuracy", m.accuracy_score(truth, predicted))
    for figure in ("precision", "recall", "f1"):
        score = getattr(m, f"{figure}_score")
        show(f"{name}.macro_{figure}", score(truth, predicted, labels=labels, average="macro", **NAN))
    matrices = m.multilabel_confusion_matrix(truth, predicted, labels=labels)
    show(f"{name}.macro_specificity", np.nanmean([tn / (tn + fp) for (tn, fp), _ in matrices]))


print(f"scikit-learn {sklearn.__version__}, numpy {np.__version__}")

predicted = (np.array(SCORE) >= THRESHOLD).astype(int)
tn, fp, fn, tp = m.confusion_matrix(TRUTH, predicted).ravel()
print(f"binary: tp {tp} fp {fp} tn {tn} fn {fn}")
binary("binary", TRUTH, predicted)
show("binary.balanced_accuracy", m.balanced_accuracy_score(TRUTH, predicted))
show("binary.roc_auc", m.roc_auc_score(TRUTH, SCORE))
clipped = np.clip(SCORE, 1e-7, 1 - 1e-7)
show("binary.log_loss", m.log_loss(TRUTH, clipped))
cuts = np.unique(SCORE)
balanced = [m.balanced_accuracy_score(TRUTH, np.array(SCORE) >= cut) for cut in cuts]
best = int(np.argmax(balanced))
show("binary.best_balanced_accuracy", max(balanced))
print(f"binary: best cut between {float(cuts[best - 1])!r} and {float(cuts[best])!r}, {balanced.count(max(balanced))} of them")

fpr, tpr, thresholds = m.roc_curve(TRUTH, SCORE, drop_intermediate=False)
print("binary.roc_curve (threshold, fpr, tpr) =", [tuple(map(float, point)) for point in zip(thresholds, fpr, tpr)])
show("binary.average_precision", m.average_precision_score(TRUTH, SCORE))
show("binary.brier_score", m.brier_score_loss(TRUTH, SCORE))
shares, means = calibration_curve(TRUTH, SCORE, n_bins=5)
print("binary.reliability of 5 bins (positive share, mean) =", [tuple(map(float, bin)) for bin in zip(shares, means)])

show("reversed.roc_auc", m.roc_auc_score(TRUTH, -np.array(SCORE)))
show("constant.roc_auc", m.roc_auc_score(TRUTH, [0.5] * len(TRUTH)))
show("half_ties.roc_auc", m.roc_auc_score([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]))

binary("all_negative_predicted", [0, 1, 1, 0], [0, 0, 0, 0])
binary("no_positive_at_all", [0, 0, 0], [0, 0, 0])

multi("multi", MULTI_TRUTH, MULTI_PROBS.argmax(axis=1), [0, 1, 2])
show("multi.roc_auc_ovr", m.roc_auc_score(MULTI_TRUTH, MULTI_PROBS, multi_class="ovr", average="macro"))
show("multi.log_loss", m.log_loss(MULTI_TRUTH, np.clip(MULTI_PROBS, 1e-7, 1 - 1e-7)))
logs = np.log(MULTI_PROBS)
loss = lambda x: m.log_loss(MULTI_TRUTH, softmax(logs * x[0] + np.array([0, x[1], x[2]]), axis=1))
found = minimize(loss, [1, 0, 0], method="BFGS", options={"gtol": 1e-9}).x
biases = np.array([0, *found[1:]])
show("multi.temperature", 1 / found[0])
print("multi.bias =", [float(bias) for bias in biases - biases.mean()])
# Class 2 is neither there nor predicted, class 1 is never predicted: the average leaves out what is undefined.
multi("absent", [0, 0, 1, 3], [0, 3, 0, 3], [0, 1, 2, 3])

show("percentile_2.5", np.percentile([0.3, 0.1, 0.9, 0.4, 0.7, 0.2, 0.65], 2.5))
show("percentile_97.5", np.percentile([0.3, 0.1, 0.9, 0.4, 0.7, 0.2, 0.65], 97.5))


# Percentile bootstraps by SciPy: rows are drawn, figures of draws of one class are left out.
rows = np.arange(len(TRUTH))
truth, score, other = np.array(TRUTH), np.array(SCORE), np.array(OTHER)


def auc(values, drawn):
    return m.roc_auc_score(truth[drawn], values[drawn]) if len(set(truth[drawn])) == 2 else np.nan


for name, figure in {
    "accuracy": lambda drawn: m.accuracy_score(truth[drawn], score[drawn] >= THRESHOLD),
    "roc_auc": lambda drawn: auc(score, drawn),
    "difference": lambda drawn: auc(score, drawn) - auc(other, drawn),
}.items():
    drawn = bootstrap((rows,), figure, vectorized=False, n_resamples=20_000, method="percentile", rng=1).bootstrap_distribution
    drawn = drawn[~np.isnan(drawn)]
    show(f"bootstrap.{name}.value", figure(rows))
    show(f"bootstrap.{name}.low", np.percentile(drawn, 2.5))
    show(f"bootstrap.{name}.high", np.percentile(drawn, 97.5))
    show(f"bootstrap.{name}.p_value", 2 * min(np.mean(drawn <= 0), np.mean(drawn >= 0)))

# Ten bins of equal width, closed on the right: what lies in them, weighed by how much.
bins = np.clip(np.ceil(score * 10), 1, 10)
apart = [np.sum(bins == bin) * abs(score[bins == bin].mean() - truth[bins == bin].mean()) for bin in np.unique(bins)]
show("binary.expected_calibration_error", sum(apart) / len(score))
