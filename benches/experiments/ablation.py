#!/usr/bin/env python3
"""How well `cnn` works on X-rays that were acquired otherwise than its training X-rays, and what each option does for it.

    benches/experiments/ablation.py --images chest_xray/train [--only 'the defaults'] [--seeds 42,43,44]
    benches/experiments/ablation.py --render

Each run is two models: one trained on the near side of a split by acquisition and evaluated on eleven variants of the far side
(`acquisition.py`), and one trained on four fifths of the patients and evaluated on the others. The results of a run are appended to
the CSV file at once, one line per variant. A run that is in the CSV file is skipped, so the command can be stopped and repeated.
--render trains nothing and writes the pages from the CSV file.
"""

import argparse
import pathlib
import statistics
import sys
import time

from common import NEAR, ROOT, TEST, TRAINING, ingest, on_variants, split_by_acquisition, sql
from report import measured_on
from results import add, environments, read

# The options that differ from the defaults, which are the recommended ones.
ROWS = {
    "the defaults": "",
    "without stretch": "augment = 'rotate, shift, zoom, frame, processing, brightness, contrast, gamma, blur, noise, cutout'",
    "without frame": "augment = 'rotate, shift, zoom, stretch, processing, brightness, contrast, gamma, blur, noise, cutout'",
    "without processing": "augment = 'rotate, shift, zoom, stretch, frame, brightness, contrast, gamma, blur, noise, cutout'",
}
DEFAULTS = next(iter(ROWS))
HELD_OUT = "other patients"
METRICS = ["balanced_accuracy", "roc_auc"]
FIELDS = ["row", "options", "seed", "variant", "rows", *METRICS, "threshold", "seconds", "environment"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=pathlib.Path, help="a folder of images with one folder per class")
    parser.add_argument("--render", action="store_true", help="train nothing: write the pages from the results")
    parser.add_argument("--seeds", default="42,43,44", help="runs per row (default %(default)s)")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS), help="only these rows")
    parser.add_argument("--csv", type=pathlib.Path, default=ROOT / "docs/ablation.csv", help="results; new lines are appended")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/ablation.md", help="the page of all rows")
    parser.add_argument("--shift", type=pathlib.Path, default=ROOT / "docs/study-shift.md", help="the page of the variants")
    args = parser.parse_args()
    if not args.images and not args.render:
        parser.error("--images is required, unless --render is given")
    return args


def fit(options, seed, table):
    """Trains a model, and returns the seconds it took."""
    given = ", ".join(filter(None, [options, f"seed = {seed}", "\"group\" = 'group'"]))
    started = time.monotonic()
    sql(f"CREATE OR REPLACE MODEL ablation USING cnn OPTIONS ({given}) TRAIN ON {table}", tables={"near": NEAR})
    return time.monotonic() - started


def train(row, seed):
    """The lines of a run."""
    seconds = fit(ROWS[row], seed, "near")
    found = on_variants("ablation")
    fit(ROWS[row], seed, TRAINING)
    found[HELD_OUT] = sql(f"EVALUATE MODEL ablation ON {TEST}")[0]
    environment = measured_on()
    for variant, metrics in found.items():
        rounded = {metric: f"{float(metrics[metric]):.4f}" for metric in [*METRICS, "threshold"]}
        yield {"row": row, "options": ROWS[row], "seed": seed, "variant": variant, "rows": metrics["rows"], **rounded,
               "seconds": f"{seconds:.0f}", "environment": environment}


def runs(args):
    return [(row, seed) for seed in args.seeds.split(",") for row in args.only]


def lines_of(results, row, seed):
    """The lines of a run by variant. Empty if it has no result, or if its options have changed since."""
    return {line["variant"]: line for line in results if (line["row"], line["options"], line["seed"]) == (row, ROWS[row], seed)}


def summary(lines):
    """Means and worst values over the variants of the far side, and the metrics of other patients."""
    far = [line for variant, line in lines.items() if variant != HELD_OUT]
    values = {metric: [float(line[metric]) for line in far] for metric in METRICS}
    return [*(statistics.mean(values[metric]) for metric in METRICS), *(min(values[metric]) for metric in METRICS),
            *(float(lines[HELD_OUT][metric]) for metric in METRICS), float(far[0]["seconds"])]


def spread(values, digits=4):
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 or digits == 0 else f"{mean} ± {(max(values) - min(values)) / 2:.{digits}f}"


def head(title, lines):
    where, _ = environments(lines)
    return [f"# {title}", "", "`make ablation` and `make study-shift` (`benches/experiments/ablation.py`) write this page. "
            f"It was measured on {where}.", ""]


def ablation_page(args, results):
    cells = []
    for row in args.only:
        found = [lines for seed in args.seeds.split(",") if (lines := lines_of(results, row, seed))]
        if found:
            columns = [spread(values, 0 if place == 6 else 4) for place, values in enumerate(zip(*map(summary, found)))]
            options = f"`{ROWS[row]}`" if ROWS[row] else ""
            cells.append(f"| {row} | {options} | {len(found)} | " + " | ".join(columns) + " |")
    return "\n".join([
        *head("Ablation of the options of `cnn`", results),
        "The first row has the defaults. Each of the other rows changes one option. `cnn` is trained on one side of a split by "
        "acquisition and evaluated on eleven variants of the other side ([study-shift.md](study-shift.md)), at its own threshold. The last "
        "two metrics are those of the same options, trained on four fifths of the patients, for the other patients. Values are means "
        "over seeds, with half the difference between the best and the worst.",
        "",
        "| row | options | seeds | balanced accuracy | ROC AUC | worst balanced accuracy | worst ROC AUC | other patients: ROC AUC | "
        "other patients: balanced accuracy | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|", *cells, ""])


def shift_page(args, results):
    found = {seed: lines for seed in args.seeds.split(",") if (lines := lines_of(results, DEFAULTS, seed))}
    variants = list(next(iter(found.values())))
    body = []
    for variant in variants:
        each = [[float(lines[variant][metric]) for lines in found.values()] for metric in METRICS]
        body.append(f"| {variant} | " + " | ".join(spread(values) for values in each) + " |")
    means = list(zip(*map(summary, found.values())))
    body.append("| **mean of the variants** | " + " | ".join(spread(values) for values in means[:2]) + " |")
    return "\n".join([
        *head("X-rays that were acquired otherwise", results),
        "`cnn` with its default options is trained on one side of a split of the chest X-rays of children by acquisition: normal X-rays "
        "from ranges of file numbers that look unlike the others, and a sixteenth of the patients with pneumonia, are tested on. "
        "`benches/experiments/acquisition.py` defines the split and the variants. Each variant has all tested X-rays. The threshold is "
        f"the model's own. Values are means over the seeds {', '.join(found)}, with half the difference between the best and the worst. "
        f"The last but one row is of models that were trained on four fifths of the patients. Training took {spread(means[6], 0)} s.",
        "", "| variant | balanced accuracy | ROC AUC |", "|---|---|---|", *body, ""])


def main():
    args = arguments()
    if not args.render:
        ingest(args.images)
        split_by_acquisition()
        for row, seed in runs(args):
            if not lines_of(read(args.csv), row, seed):
                print(f"ablation: {row}, seed {seed}", file=sys.stderr, flush=True)
                for line in list(train(row, seed)):
                    add(args.csv, FIELDS, line)
    results = read(args.csv)
    args.out.write_text(ablation_page(args, results))
    args.shift.write_text(shift_page(args, results))
    print(args.shift.read_text())


if __name__ == "__main__":
    main()
