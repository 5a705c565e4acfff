#!/usr/bin/env python3
"""How well `cnn` works on X-rays that were acquired otherwise than its training X-rays, and what each option does for it.

    benches/experiments/study_shift.py --images chest_xray/train [--only recommended] [--seeds 42,43,44]
    benches/experiments/study_shift.py --render

Each run is two models: one trained on the near side of a split by acquisition and evaluated on eleven variants of the far side
(`acquisition.py`), and one trained on four fifths of the patients and evaluated on the others. The results of a run are appended to
the CSV file at once, one line per variant. A run that is in the CSV file is skipped, so the command can be stopped and repeated.
--render trains nothing and writes the pages from the CSV file.
"""

import argparse
import pathlib
import statistics
import sys

from common import ROOT, TEST, TRAINING, fit, ingest, on_variants, split_by_acquisition, sql
from report import measured_on
from results import add, environments, read

RECOMMENDED = "ema = 0.99, tta = 4"
SITE = "rotate, shift, zoom, brightness, contrast, gamma, blur, noise, cutout"
ROWS = {
    "recommended": RECOMMENDED,
    "default options": "",
    "without stretch, frame, processing": f"{RECOMMENDED}, augment = '{SITE}'",
}
HELD_OUT = "other patients"
METRICS = ["balanced_accuracy", "roc_auc"]
THRESHOLDS = ["threshold", "best_threshold"]
FIELDS = ["row", "options", "seed", "variant", "rows", *METRICS, *THRESHOLDS, "seconds", "environment"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=pathlib.Path, help="a folder of images with one folder per class")
    parser.add_argument("--render", action="store_true", help="train nothing: write the pages from the results")
    parser.add_argument("--seeds", default="42,43,44", help="runs per row (default %(default)s)")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS), help="only these rows")
    parser.add_argument("--csv", type=pathlib.Path, default=ROOT / "docs/study-shift.csv", help="results; new lines are appended")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/study-shift.md", help="the page to write")
    args = parser.parse_args()
    if not args.images and not args.render:
        parser.error("--images is required, unless --render is given")
    return args


def train(row, seed):
    """The lines of a run."""
    seconds = fit("study_shift", ROWS[row], seed, "near")
    found = on_variants("study_shift")
    fit("study_shift", ROWS[row], seed, TRAINING)
    found[HELD_OUT] = sql(f"EVALUATE MODEL study_shift ON {TEST}")[0] | {"best_threshold": "nan"}
    environment = measured_on()
    for variant, metrics in found.items():
        rounded = {metric: f"{float(metrics[metric]):.4f}" for metric in [*METRICS, *THRESHOLDS]}
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


def by_variant(title, rows, of_row, variants, fields):
    """A table with one line per variant: the means of two fields over the seeds of each row."""
    mean = lambda row, variant, field: statistics.mean(float(lines[variant][field]) for lines in of_row[row])
    cells = lambda variant: [" / ".join(f"{mean(row, variant, field):.3f}" for field in fields) for row in rows]
    head = ["", title, "", "| variant | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    return head + [f"| {variant} | " + " | ".join(cells(variant)) + " |" for variant in variants]


def page(args, results):
    where, _ = environments(results)
    found = {(row, seed): lines for row, seed in runs(args) if (lines := lines_of(results, row, seed))}
    rows = list(dict.fromkeys(row for row, _ in found))
    of_row = {row: [lines for (known, _), lines in found.items() if known == row] for row in rows}
    lines = [
        "# X-rays that were acquired otherwise", "",
        f"`make study-shift` (`benches/experiments/study_shift.py`) writes this page. It was measured on {where}.", "",
        "`cnn` is trained on one side of a split of the chest X-rays of children by acquisition, and evaluated on eleven variants of the "
        "other side at its own threshold. That side has normal X-rays from ranges of file numbers that look unlike the others, and a "
        "sixteenth of the patients with pneumonia. `benches/experiments/acquisition.py` defines the split and the variants. The last two "
        "metrics are of the same options, trained on four fifths of the patients, for the other patients. Values are means over seeds, with "
        "half the difference between the largest and the smallest.", "",
        "| options | seeds | balanced accuracy | ROC AUC | worst balanced accuracy | worst ROC AUC | other patients: balanced accuracy | "
        "other patients: ROC AUC | seconds |", "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        columns = [spread(values, 0 if place == 6 else 4) for place, values in enumerate(zip(*map(summary, of_row[row])))]
        lines.append(f"| {row} | {len(of_row[row])} | " + " | ".join(columns) + " |")
    lines += ["", "The options:", "", *(f"* {row}: `{ROWS[row] or 'none'}`" for row in rows)]
    variants = list(next(iter(found.values())))
    lines += by_variant("The variants, as balanced accuracy / ROC AUC:", rows, of_row, variants, METRICS)
    variants.remove(HELD_OUT)
    lines += by_variant(
        "How far thresholds move: the threshold of the model / the one with the best balanced accuracy on the variant:", rows, of_row,
        variants, THRESHOLDS)
    return "\n".join(lines) + "\n"


def main():
    args = arguments()
    if not args.render:
        ingest(args.images)
        split_by_acquisition()
        for row, seed in runs(args):
            if not lines_of(read(args.csv), row, seed):
                print(f"study-shift: {row}, seed {seed}", file=sys.stderr, flush=True)
                for line in list(train(row, seed)):
                    add(args.csv, FIELDS, line)
    results = read(args.csv)
    args.out.write_text(page(args, results))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
