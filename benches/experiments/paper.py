#!/usr/bin/env python3
"""The experiment of the paper, in SQL: five models under three losses, each tested on patients that no model was trained on.

    benches/experiments/paper.py --images chest_xray/train [--full]
    benches/experiments/paper.py --render

Each run is one CREATE MODEL and one EVALUATE MODEL on the same held-out patients, and takes minutes. Its result is appended to
the CSV file at once. A run that is in the CSV file is skipped, so the command can be stopped and repeated. Without --full the
large nets are trained on small images for few epochs, and all runs end within two hours on two processors. --full uses each
net's own image size, needs a GPU and writes a page of its own. --render trains nothing and writes the page from the CSV file.
"""

import argparse
import json
import pathlib
import subprocess
import time

from common import ROOT, TEST, TRAINING, ingest, sql, train_missing, trained
from environment import python_with
from report import measured_on
from results import environments

LOSSES = ["binary_crossentropy", "categorical_crossentropy", "mean_squared_error"]
SEEDS = {"cnn": [42, 43, 44]}
# Image size and epochs, on two processors and with --full.
SIZES = {
    "cnn": ((128, 12), (224, 20)),
    "vgg16": ((64, 3), (224, 20)),
    "resnet50": ((64, 4), (224, 20)),
    "densenet121": ((64, 4), (224, 20)),
    "svm": ((128, 8), (128, 8)),
}
OPTIONS = {"cnn": ", ema = 0.99"}
METRICS = ["accuracy", "precision", "recall", "specificity", "f1", "roc_auc"]
FIELDS = ["model", "loss", "seed", "image_size", "epochs", "rows", "seconds", "images_per_second", "parameters", "threshold", "environment",
          *[f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]]
# The metrics that the paper reports for its CNN, trained by several workers with PySpark and Elephas.
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
    parser.add_argument("--images", type=pathlib.Path, help="a folder of images with one folder per class")
    parser.add_argument("--render", action="store_true", help="train nothing: write the page from the results")
    parser.add_argument("--full", action="store_true", help="image sizes and epochs for a GPU")
    parser.add_argument("--only", nargs="*", default=list(SIZES), help="only these models")
    parser.add_argument("--csv", type=pathlib.Path, help="results; new rows are appended (default docs/paper.csv, with --full paper-full.csv)")
    parser.add_argument("--out", type=pathlib.Path, help="the page to write (default beside the results)")
    args = parser.parse_args()
    if not args.images and not args.render:
        parser.error("--images is required, unless --render is given")
    args.csv = args.csv or ROOT / "docs" / ("paper-full.csv" if args.full else "paper.csv")
    args.out = args.out or args.csv.with_suffix(".md")
    return args


def train(run):
    options = (f"image_size = {run['image_size']}, epochs = {run['epochs']}, loss = '{run['loss']}', seed = {run['seed']}, "
               f"early_stop = false, \"group\" = 'group'{OPTIONS.get(run['model'], '')}")
    started = time.monotonic()
    sql(f"CREATE OR REPLACE MODEL paper USING {run['model']} OPTIONS ({options}) TRAIN ON {TRAINING}")
    seconds = time.monotonic() - started
    found = sql(f"EVALUATE MODEL paper ON {TEST}")[0]
    training = sql("SHOW TRAINING paper")[0]
    model = next(row for row in sql("SHOW MODELS") if row["model"] == "paper")
    ends = {f"{metric}{end}": f"{float(found[f'{metric}{end}']):.4f}" for metric in METRICS for end in ("", "_low", "_high")}
    return {**run, "rows": found["rows"], "seconds": f"{seconds:.0f}", "parameters": model["parameters"], "environment": measured_on(),
            "images_per_second": f"{float(training['images_per_second']):.0f}",
            "threshold": f"{float(found['threshold']):.4f}", **ends}


def runs(args):
    for model in args.only:
        image_size, epochs = SIZES[model][args.full]
        for loss in LOSSES:
            for seed in SEEDS.get(model, [42]):
                yield {"model": model, "loss": loss, "seed": seed, "image_size": image_size, "epochs": epochs}


def page(args, rows):
    where, marks = environments(rows)
    lines = [
        "# The paper's models and losses",
        "",
        f"`make paper` (`benches/experiments/paper.py`) writes this page. It was measured on {where}.",
        "",
        "The first row has the metrics that the paper reports for its CNN, which several workers trained with PySpark and Elephas. The "
        "paper's test images are not those of this page.",
        "",
        "Each of the other rows is one CREATE MODEL and one EVALUATE MODEL. All models are trained on the same patients and tested on "
        f"{rows[0]['rows']} images of other patients. The epoch and the threshold were chosen on a tenth of the training patients. Each "
        "metric has its 95 % interval. The plot shows the first seed of each model.",
        "",
        *([] if args.full else [
            "The image sizes and epochs are chosen for two processors. The large nets are trained at 64 pixels for few epochs, which is "
            "less than they need. `make paper FULL=1` uses 224 pixels and 20 epochs, and needs a GPU.", ""]),
        "`svm` is a linear model on histograms of oriented gradients. With the first two losses it is a logistic regression. With the "
        "third it minimizes the squared error of a logistic model's probabilities.",
        "",
        f"![Accuracy of each model and loss](plots/{args.out.stem}.svg)",
        "",
        "| model | loss | seed | pixels | epochs | " + " | ".join(METRICS).replace("roc_auc", "ROC AUC").replace("f1", "F1")
        + " | seconds | images/s |",
        "|---|---|---|---|---|" + "---|" * (len(METRICS) + 2),
    ]
    lines.append("| the paper's CNN | | | | | " + " | ".join(PAPER.get(metric, "") for metric in METRICS) + " | | |")
    for row, mark in zip(rows, marks):
        metrics = [f"{row[m]} ({row[m + '_low']} to {row[m + '_high']})" for m in METRICS]
        cells = [row["model"], row["loss"], row["seed"], row["image_size"], row["epochs"], *metrics,
                 row["seconds"] + mark, row["images_per_second"]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows, stem):
    values = {}
    for row in rows:
        # The first of several seeds.
        values.setdefault(row["model"], {}).setdefault(row["loss"], [float(row[f"accuracy{end}"]) for end in ("", "_low", "_high")])
    given = json.dumps([list(values), LOSSES, values, str(stem)])
    subprocess.run([python_with("plots", ["matplotlib==3.10.7"]), "-c", PLOT, given], check=True)


def main():
    args = arguments()
    if not args.render:
        ingest(args.images)
        # Loss by loss: if the command is stopped, the page compares all models under the first losses.
        train_missing(args.csv, FIELDS, sorted(runs(args), key=lambda run: LOSSES.index(run["loss"])), train)
    wanted = trained(args.csv, runs(args))
    args.out.write_text(page(args, wanted))
    plot(wanted, args.out.parent / "plots" / args.out.stem)
    print(args.out.read_text())


if __name__ == "__main__":
    main()
