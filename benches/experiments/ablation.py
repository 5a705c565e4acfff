#!/usr/bin/env python3
"""The effect of each option of `cnn`: its metrics on the test X-rays and on shifted copies of them.

    benches/experiments/ablation.py --images chest_xray/train [--seeds 42,43]
    benches/experiments/ablation.py --render

Each run is one CREATE MODEL and one EVALUATE MODEL with `by = 'shift'`, and takes five minutes on two processors. Its result is
appended to the CSV file at once. A run that is in the CSV file is skipped, so the command can be stopped and repeated.
--render trains nothing and writes the page from the CSV file.
"""

import argparse
import pathlib
import subprocess
import time

from common import FOLDER, HERE, PACKAGES, ROOT, TABLE, TEST_DIGITS, TRAINING, ingest, sql, train_missing, trained
from environment import python_with
from report import measured_on
from results import environments

SHIFTED = FOLDER / "shifted.parquet"
# The recommended options, and the same with one change at a time.
RECIPE = {"epochs": "12", "ema": "0.99", "tta": "4"}
ROWS = {
    "recommended options": {},
    "without EMA": {"ema": None},
    "without TTA": {"tta": None},
    "without augmentation": {"augment": "'none'"},
    "without class weights": {"class_weights": "'none'"},
    "with a threshold of 0.5": {"threshold": "0.5"},
    "without blur": {"augment": "'rotate, shift, zoom, brightness, contrast, gamma, noise, cutout'"},
    "with shear": {"augment": "'rotate, shift, zoom, shear, brightness, contrast, gamma, blur, noise, cutout'"},
    "with mixup": {"mixup": "0.2"},
    "with stretched intensities": {"intensity": "'stretch'"},
    "with CLAHE": {"intensity": "'clahe'"},
    "with a cropped border": {"border_crop": "0.05"},
}
METRICS = ["roc_auc", "balanced_accuracy", "accuracy"]
FIELDS = ["row", "options", "seed", *METRICS, *[f"shifted_{metric}" for metric in METRICS], "worst_shift", "seconds", "environment"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=pathlib.Path, help="a folder of images with one folder per class")
    parser.add_argument("--render", action="store_true", help="train nothing: write the page from the results")
    parser.add_argument("--seeds", default="42", help="runs per row (default %(default)s)")
    parser.add_argument("--only", nargs="*", default=list(ROWS), help="only these rows")
    parser.add_argument("--csv", type=pathlib.Path, default=ROOT / "docs/ablation.csv", help="results; new rows are appended")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/ablation.md", help="the page to write")
    args = parser.parse_args()
    if not args.images and not args.render:
        parser.error("--images is required, unless --render is given")
    return args


def options(row):
    chosen = {key: value for key, value in {**RECIPE, **ROWS[row]}.items() if value is not None}
    return ", ".join(f"{key} = {value}" for key, value in chosen.items())


def train(run):
    given = f"{run['options']}, seed = {run['seed']}, early_stop = false, \"group\" = 'group'"
    started = time.monotonic()
    sql(f"CREATE OR REPLACE MODEL ablation USING cnn OPTIONS ({given}) TRAIN ON {TRAINING}")
    seconds = time.monotonic() - started
    found = sql("EVALUATE MODEL ablation ON shifted OPTIONS (by = 'shift')", tables={"shifted": SHIFTED})
    plain = next(row for row in found if row["shift"] == "none")
    others = [row for row in found if row["shift"] != "none"]
    worst = min(others, key=lambda row: float(row["roc_auc"]))
    result = {**run, "seconds": f"{seconds:.0f}", "environment": measured_on(), "worst_shift": f"{worst['shift']} ({float(worst['roc_auc']):.4f})"}
    for metric in METRICS:
        result[metric] = f"{float(plain[metric]):.4f}"
        result[f"shifted_{metric}"] = f"{sum(float(row[metric]) for row in others) / len(others):.4f}"
    return result


def runs(args):
    for row in args.only:
        for seed in args.seeds.split(","):
            yield {"row": row, "options": options(row), "seed": seed}


def page(rows):
    where, marks = environments(rows)
    lines = [
        "# Ablation of the options of `cnn`",
        "",
        f"`make ablation` (`benches/experiments/ablation.py`) writes this page. It was measured on {where}.",
        "",
        "The first row has the recommended options. Each of the other rows changes one of them. `cnn` is trained on four fifths of the "
        "patients of the chest X-rays of children, and tested on the others. The threshold was chosen on a tenth of the training patients.",
        "",
        "Shifted metrics are means over twelve kinds of changed copies of the test X-rays (`benches/experiments/shifts.py`): gamma, "
        "contrast, brightness, blur, noise, crop, rotation and JPEG quality.",
        "",
        "| row | options | seed | ROC AUC | balanced accuracy | accuracy | shifted ROC AUC | shifted balanced accuracy | "
        "shifted accuracy | worst shift (ROC AUC) | seconds |",
        "|---|---|---|" + "---|" * 8,
    ]
    for row, mark in zip(rows, marks):
        cells = [f"`{row[field]}`" if field == "options" else row[field] for field in FIELDS[:-1]]
        lines.append("| " + " | ".join(cells) + f"{mark} |")
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    if not args.render:
        ingest(args.images)
        if not SHIFTED.exists():
            subprocess.run([python_with("shifts", PACKAGES), HERE / "shifts.py", TABLE, SHIFTED, TEST_DIGITS], check=True)
        train_missing(args.csv, FIELDS, runs(args), train)
    args.out.write_text(page(trained(args.csv, runs(args))))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
