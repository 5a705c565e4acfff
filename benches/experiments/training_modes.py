#!/usr/bin/env python3
"""Compares the training modes on one table with 1, 2, 4 and 8 workers.

    benches/experiments/training_modes.py xrays.parquet --group group
    benches/experiments/training_modes.py xrays.parquet --render

All runs have the same rows, epochs and net. A run takes minutes. Its result is appended to the CSV file at once. A run that is
in the CSV file is skipped, so the command can be stopped and repeated. --render trains nothing and writes the page from the
CSV file. The command needs nothing but Python and the `tusk` program.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benches"))
from report import measured_on
from results import add, find, environments, read

# name: options
MODES = {
    "synchronous": "",
    "synchronous, averaged once an epoch": ", averages_per_epoch = 1, scale_learning_rate = false",
    "synchronous, server momentum": ", outer_optimizer = 'momentum'",
    "asynchronous, each epoch": ", mode = 'asynchronous'",
    "asynchronous, each batch": ", mode = 'asynchronous', frequency = 'batch'",
    "hogwild, each epoch": ", mode = 'hogwild'",
    "hogwild, each batch": ", mode = 'hogwild', frequency = 'batch'",
}

KEYS = ["table", "options", "mode", "workers", "epochs", "image_size", "seed"]
FIELDS = [*KEYS, "rows", "val_roc_auc", "best_roc_auc", "val_loss", "best_epoch", "seconds", "epoch_seconds",
          "staleness_mean", "staleness_max", "environment"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("table", type=Path, help="a Parquet file of images and labels, written by `tusk ingest`")
    parser.add_argument("--group", help="the column that keeps rows together in a split (the patient)")
    parser.add_argument("--tusk", default=os.environ.get("TUSK", str(ROOT / "target/dist/tusk")), help="the tusk binary")
    parser.add_argument("--workers", default="1,2,4,8", help="numbers of workers (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seeds", default="42,43,44", help="runs per row of the table (default %(default)s)")
    parser.add_argument("--modes", default="", help="only these modes, separated by semicolons")
    parser.add_argument("--options", default="", help="more options, for instance \"augment = 'none'\"")
    parser.add_argument("--render", action="store_true", help="train nothing: write the page from the results")
    parser.add_argument("--csv", type=Path, default=ROOT / "docs/training-modes.csv", help="results; new rows are appended")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/training-modes.md", help="the page to write")
    return parser.parse_args()


def sql(tusk, store, statements):
    """The answer of the last of the statements, which all run in one session."""
    command = [tusk, "sql", "--format", "csv", "--store", store]
    done = subprocess.run([*command, "-c", ";\n".join(statements)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{statements[-1]}\n{done.stderr}")
    return list(csv.DictReader(io.StringIO(done.stdout)))


def train(args, mode, workers, seed):
    group = f", \"group\" = '{args.group}'" if args.group else ""
    more = f", {args.options}" if args.options else ""
    options = (f"epochs = {args.epochs}, workers = {workers}, seed = {seed}, image_size = {args.image_size}, "
               f"early_stop = false{group}{more}{MODES[mode]}")
    create = f"CREATE MODEL modes USING cnn OPTIONS ({options}) TRAIN ON t"
    table = f"CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{args.table.resolve()}'"
    with tempfile.TemporaryDirectory(prefix="tusk-modes-") as store:
        started = time.monotonic()
        epochs = sql(args.tusk, store, [table, create])
        seconds = time.monotonic() - started
        training = sql(args.tusk, store, ["SHOW TRAINING modes"])[0]
    epochs = [row for row in epochs if row.get("epoch", "").isdigit()]
    if len(epochs) != args.epochs:
        sys.exit(f"{mode} with {workers} workers: expected {args.epochs} epochs, got {len(epochs)}")
    best = min(epochs, key=lambda row: float(row["val_loss"]))
    return {
        "table": args.table.name, "options": args.options, "mode": mode, "workers": workers, "epochs": args.epochs,
        "image_size": args.image_size, "seed": seed, "rows": epochs[-1]["images"],
        "val_roc_auc": epochs[-1]["val_roc_auc"], "best_roc_auc": best["val_roc_auc"], "val_loss": best["val_loss"],
        "best_epoch": best["epoch"], "seconds": f"{seconds:.1f}",
        "epoch_seconds": f"{sum(float(row['seconds']) for row in epochs):.1f}",
        "staleness_mean": training.get("staleness_mean", ""), "staleness_max": training.get("staleness_max", ""),
        "environment": measured_on(),
    }


def mean(rows, field):
    values = [float(row[field]) for row in rows if row.get(field)]
    return sum(values) / len(values) if values else None


def spread(rows, field):
    values = [float(row[field]) for row in rows if row.get(field)]
    return (max(values) - min(values)) / 2 if len(values) > 1 else None


def shown(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def page(args, results):
    wanted = {"table": args.table.name, "options": args.options, "epochs": str(args.epochs), "image_size": str(args.image_size)}
    rows = [row for row in results if all(row[key] == value for key, value in wanted.items())]
    if not rows:
        sys.exit("no results to write")
    where, _ = environments(rows)
    lines = [
        "# Training modes",
        "",
        f"`make training-modes` (`benches/experiments/training_modes.py`) writes this page. It was measured on {where}.",
        "",
        f"Each run trains `cnn` at {args.image_size} pixels for {args.epochs} epochs on {args.table.name}, with {rows[0]['rows']} training "
        "rows. All workers run in one process and share the processors. The seconds therefore show the overhead of a mode, and not how it "
        "scales.",
        "",
        "Validation ROC AUC is the mean over the seeds, after the last epoch and at the best epoch, whose weights are published. A seed "
        "also decides which rows are held out, so compare only rows of the table with the same seeds. `±` is half the difference between "
        "the best and the worst seed. Seconds are those of the whole statement, and those of its epochs. Staleness is the number of "
        "pushes by other workers between a worker's pull and its push. The CSV file has every run.",
        "",
        "| mode | workers | seeds | AUC, last epoch | AUC, best epoch | ± | seconds | in epochs | staleness, mean | max |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for mode in MODES:
        for workers in sorted({int(row["workers"]) for row in rows}):
            runs = [row for row in rows if row["mode"] == mode and int(row["workers"]) == workers]
            if runs:
                stale = [int(float(row["staleness_max"])) for row in runs if row.get("staleness_max")]
                lines.append(
                    f"| {mode} | {workers} | {', '.join(sorted(row['seed'] for row in runs))} | {shown(mean(runs, 'val_roc_auc'), 4)} | "
                    f"{shown(mean(runs, 'best_roc_auc'), 4)} | {shown(spread(runs, 'best_roc_auc'), 4)} | "
                    f"{shown(mean(runs, 'seconds'), 0)} | {shown(mean(runs, 'epoch_seconds'), 0)} | "
                    f"{shown(mean(runs, 'staleness_mean'), 2)} | {max(stale) if stale else ''} |")
    lines += ["", *verdict(rows)]
    return "\n".join(lines).rstrip() + "\n"


def verdict(rows):
    """Compares synchronous training with four workers and with one, over the seeds that both have."""
    def runs(workers):
        chosen = [r for r in rows if r["mode"] == "synchronous" and int(r["workers"]) == workers]
        return {row["seed"]: row for row in chosen}
    one, four = runs(1), runs(4)
    seeds = sorted(one.keys() & four.keys(), key=int)
    if not seeds:
        return []
    one, four = (mean([side[seed] for seed in seeds], "best_roc_auc") for side in (one, four))
    return [f"Over the seeds {', '.join(seeds)}, synchronous training reaches {one:.4f} with one worker and {four:.4f} with four, a "
            f"difference of {four - one:+.4f}. The target is a loss of at most 0.005: {'met' if one - four <= 0.005 else 'MISSED'}."]


def train_missing(args):
    for seed in args.seeds.split(","):
        for workers in args.workers.split(","):
            for mode in MODES:
                if args.modes and mode not in args.modes.split(";"):
                    continue
                key = dict(zip(KEYS, map(str, (args.table.name, args.options, mode, workers, args.epochs, args.image_size, seed))))
                if find(read(args.csv), key):
                    continue
                print(f"{mode}, {workers} workers, seed {seed} ...", file=sys.stderr, flush=True)
                result = train(args, mode, workers, seed)
                add(args.csv, FIELDS, result)
                print(f"    AUC {result['best_roc_auc']}, {result['seconds']} s", file=sys.stderr, flush=True)


def main():
    args = arguments()
    if not args.render:
        train_missing(args)
    text = page(args, read(args.csv))
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
