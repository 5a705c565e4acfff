#!/usr/bin/env python3
"""The paper's study by SQL: five models under three losses, each tested on patients that none of them has seen.

    benches/study/study.py --images chest_xray/train [--full]

Each model is trained by one CREATE MODEL and judged by one EVALUATE MODEL on the same held-out patients. A run takes minutes: its
result is appended to the CSV file as soon as it is there, and a run whose row is there is passed over, so the command can
be stopped and called again. Without --full the large nets see small pictures and few epochs, so that all runs end within
two hours on two processors; --full gives every net the size it was made for, is for a GPU, and has a page of its own.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import time

from common import ROOT, TEST, TRAINING, ingest, sql
from environment import python_with
from report import machine
from results import add, find, machines, read

LOSSES = ["binary_crossentropy", "categorical_crossentropy", "mean_squared_error"]
SEEDS = {"cnn": [42, 43, 44]}
# Side of the pictures and epochs, on two processors and with --full.
SIZES = {
    "cnn": ((128, 12), (224, 20)),
    "vgg16": ((64, 3), (224, 20)),
    "resnet50": ((64, 4), (224, 20)),
    "densenet121": ((64, 4), (224, 20)),
    "svm": ((128, 8), (128, 8)),
}
OPTIONS = {"cnn": ", ema = 0.99"}
FIGURES = ["accuracy", "precision", "recall", "specificity", "f1", "roc_auc"]
FIELDS = ["model", "loss", "seed", "image_size", "epochs", "rows", "seconds", "images_per_second", "parameters", "threshold", "machine",
          *[f"{figure}{end}" for figure in FIGURES for end in ("", "_low", "_high")]]
# What the paper says of its CNN, trained by several workers with PySpark and Elephas.
PAPER = {"accuracy": "0.95", "roc_auc": "0.97"}

PLOT = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "tusk"
from matplotlib import pyplot
models, losses, values, stem = json.loads(sys.argv[1])
figure, axes = pyplot.subplots(figsize=(8, 4))
for place, loss in enumerate(losses):
    rows = [values[model].get(loss) for model in models]
    at = [index + (place - 1) * 0.27 for index, row in enumerate(rows) if row]
    rows = [row for row in rows if row]
    ends = [[value - low for value, low, high in rows], [high - value for value, low, high in rows]]
    axes.bar(at, [row[0] for row in rows], 0.25, yerr=ends, capsize=2, label=loss.replace("_", " "))
axes.axhline(0.95, linestyle="--", color="grey", linewidth=1, label="the paper's CNN")
axes.set_xticks(range(len(models)), models)
least = min(low for of_model in values.values() for _, low, _ in of_model.values())
axes.set_ylim(min(0.7, least - 0.02), 1.0)
axes.set_ylabel("accuracy on held-out patients")
axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize="small", frameon=False)
figure.tight_layout()
figure.savefig(stem + ".svg", metadata={"Date": None})
figure.savefig(stem + ".png", dpi=120, metadata={"Software": None})
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=pathlib.Path, required=True, help="a folder of images with one folder per class")
    parser.add_argument("--full", action="store_true", help="image sizes and epochs for a GPU")
    parser.add_argument("--only", nargs="*", default=list(SIZES), help="only these models")
    parser.add_argument("--csv", type=pathlib.Path, help="results; new rows are appended (default docs/study.csv, with --full study-full.csv)")
    parser.add_argument("--out", type=pathlib.Path, help="the page to write (default beside the results)")
    args = parser.parse_args()
    args.csv = args.csv or ROOT / "docs" / ("study-full.csv" if args.full else "study.csv")
    args.out = args.out or args.csv.with_suffix(".md")
    return args


def train(run):
    options = (f"image_size = {run['image_size']}, epochs = {run['epochs']}, loss = '{run['loss']}', seed = {run['seed']}, "
               f"early_stop = false, \"group\" = 'group'{OPTIONS.get(run['model'], '')}")
    started = time.monotonic()
    sql(f"CREATE OR REPLACE MODEL study USING {run['model']} OPTIONS ({options}) TRAIN ON {TRAINING}")
    seconds = time.monotonic() - started
    found = sql(f"EVALUATE MODEL study ON {TEST}")[0]
    training = sql("SHOW TRAINING study")[0]
    model = next(row for row in sql("SHOW MODELS") if row["model"] == "study")
    ends = {f"{figure}{end}": f"{float(found[f'{figure}{end}']):.4f}" for figure in FIGURES for end in ("", "_low", "_high")}
    return {**run, "rows": found["rows"], "seconds": f"{seconds:.0f}", "parameters": model["parameters"], "machine": machine(),
            "images_per_second": f"{float(training['images_per_second']):.0f}",
            "threshold": f"{float(found['threshold']):.4f}", **ends}


def runs(args):
    for model in args.only:
        image_size, epochs = SIZES[model][args.full]
        for loss in LOSSES:
            for seed in SEEDS.get(model, [42]):
                yield {"model": model, "loss": loss, "seed": seed, "image_size": image_size, "epochs": epochs}


def page(args, rows):
    where, marks = machines(rows)
    lines = [
        "# The study: five models, three losses",
        "",
        f"Written by `make study` (`benches/study/study.py`) on {datetime.date.today()}, on {where}. Each row is one CREATE MODEL, "
        f"tested by one EVALUATE MODEL on {rows[0]['rows']} images of patients that no net has seen. Intervals are 95 % bootstraps. "
        "Epoch and threshold were chosen on a tenth of the training patients. "
        + ("" if args.full else "The study is sized for two processors: the large nets are trained at 64 pixels for few epochs, below their "
           "potential. `make study FULL=1` uses 224 pixels and 20 epochs, and needs a GPU. ")
        + "An `svm` is linear on histograms of oriented gradients. With the first two losses it is a logistic regression; with the third it "
        "minimizes the squared error of the logistic model's probabilities. The plot shows the first seed of each model. "
        "The first row has the paper's metrics, which are of other images; the paper reports them for its CNN, trained by several workers "
        "with PySpark and Elephas.",
        "",
        f"![Accuracies side by side](plots/{args.out.stem}.svg)",
        "",
        "| model | loss | seed | pixels | epochs | " + " | ".join(FIGURES).replace("roc_auc", "ROC AUC").replace("f1", "F1")
        + " | seconds | images/s |",
        "|---|---|---|---|---|" + "---|" * (len(FIGURES) + 2),
    ]
    lines.append("| the paper's CNN | | | | | " + " | ".join(PAPER.get(figure, "") for figure in FIGURES) + " | | |")
    for row, mark in zip(rows, marks):
        figures = [f"{row[f]} ({row[f + '_low']} to {row[f + '_high']})" for f in FIGURES]
        cells = [row["model"], row["loss"], row["seed"], row["image_size"], row["epochs"], *figures,
                 row["seconds"] + mark, row["images_per_second"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows, stem):
    values = {}
    for row in rows:
        # Of several seeds the first.
        values.setdefault(row["model"], {}).setdefault(row["loss"], [float(row[f"accuracy{end}"]) for end in ("", "_low", "_high")])
    given = json.dumps([list(values), LOSSES, values, str(stem)])
    subprocess.run([python_with("plots", ["matplotlib==3.10.7"]), "-c", PLOT, given], check=True)


def main():
    args = arguments()
    ingest(args.images)
    # Loss by loss: a study that was stopped compares all models under the first ones.
    for run in sorted(runs(args), key=lambda run: LOSSES.index(run["loss"])):
        if find(read(args.csv), run):
            continue
        print(f"study: {run}", file=sys.stderr, flush=True)
        add(args.csv, FIELDS, train(run))
    results = read(args.csv)
    wanted = [row for row in (find(results, run) for run in runs(args)) if row]
    args.out.write_text(page(args, wanted))
    plot(wanted, args.out.parent / "plots" / args.out.stem)
    print(args.out.read_text())


if __name__ == "__main__":
    main()
