#!/usr/bin/env python3
"""The effect of each option of `cnn` on X-rays that were acquired otherwise than its training X-rays.

    benches/experiments/ablation.py --images chest_xray/train [--seeds 42,43]
    benches/experiments/ablation.py --render

Each run trains on the near side of a split by acquisition, and is evaluated on eleven variants of the far side (`acquisition.py`). It
takes five minutes on two processors. Its result is appended to the CSV file at once. A run that is in the CSV file is skipped, so the
command can be stopped and repeated. --render trains nothing and writes the page from the CSV file.
"""

import argparse
import pathlib

from common import ROOT, fit, ingest, on_variants, split_by_acquisition, train_missing, trained
from report import measured_on
from results import environments

# The default options, and the same with one change at a time.
RECIPE = {"epochs": "24"}
SITE = "rotate, shift, zoom, brightness, contrast, gamma, blur, noise, cutout"
ROWS = {
    "default options": {},
    "without stretch, frame, processing": {"augment": f"'{SITE}'"},
    "only with stretch of the three": {"augment": f"'{SITE}, stretch'"},
    "only with frame of the three": {"augment": f"'{SITE}, frame'"},
    "only with processing of the three": {"augment": f"'{SITE}, processing'"},
    "with resave": {"augment": f"'{SITE}, stretch, frame, processing, resave'"},
    "with resample": {"augment": f"'{SITE}, stretch, frame, processing, resample'"},
    "with marks": {"augment": f"'{SITE}, stretch, frame, processing, marks'"},
    "without augmentation": {"augment": "'none'"},
    "with EMA": {"ema": "0.99"},
    "with TTA": {"tta": "4"},
    "without class weights": {"class_weights": "'none'"},
    "with mixup": {"mixup": "0.2"},
    "with stretched intensities": {"intensity": "'stretch'"},
    "with CLAHE": {"intensity": "'clahe'"},
    "with a cropped border": {"border_crop": "0.05"},
    "with 160 pixels": {"image_size": "160"},
    "with 96 pixels": {"image_size": "96"},
}
METRICS = ["balanced_accuracy", "roc_auc"]
FIELDS = ["row", "options", "seed", *METRICS, *[f"worst_{metric}" for metric in METRICS], "worst", "threshold", "seconds", "environment"]


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
    seconds = fit("ablation", f"{run['options']}, early_stop = false", run["seed"], "near")
    found = on_variants("ablation")
    result = {**run, "seconds": f"{seconds:.0f}", "environment": measured_on(), "threshold": f"{float(found['as is']['threshold']):.3f}"}
    for metric in METRICS:
        values = {variant: float(row[metric]) for variant, row in found.items()}
        worst = min(values, key=values.get)
        result |= {metric: f"{sum(values.values()) / len(values):.4f}", f"worst_{metric}": f"{values[worst]:.4f}"}
        # The last metric is ROC AUC, which has no threshold.
        result["worst"] = worst
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
        f"The first row has the default options. Each of the other rows changes one of them. `cnn` is trained "
        "on one side of a split of the chest X-rays of children by acquisition, and tested on eleven variants of the other side "
        "([study-shift.md](study-shift.md)). Metrics are means over the variants, or those of the worst variant, at the model's own threshold.",
        "",
        "| row | options | seed | balanced accuracy | ROC AUC | worst balanced accuracy | worst ROC AUC | worst variant (ROC AUC) | "
        "threshold | seconds |",
        "|---|---|---|" + "---|" * 7,
    ]
    for row, mark in zip(rows, marks):
        cells = [f"`{row[field]}`" if field == "options" else row[field] for field in FIELDS[:-1]]
        lines.append("| " + " | ".join(cells) + f"{mark} |")
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    if not args.render:
        ingest(args.images)
        split_by_acquisition()
        train_missing(args.csv, FIELDS, runs(args), train)
    args.out.write_text(page(trained(args.csv, runs(args))))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
