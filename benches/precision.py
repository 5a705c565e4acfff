#!/usr/bin/env python3
"""Measures whether bf16 lowers quality: the validation ROC AUC of runs in float32 and in bf16, seed by seed.

    benches/precision.py TABLE.parquet [--group group] [--epochs 12] [--seeds 1 2 3] [--bin target/dist]

A seed decides which tenth of the groups is held out, the initial weights, the order of rows and the augmentation. The two runs of a
seed differ only in the number format of the convolutions. The net is `cnn` with its defaults.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from cluster import BIN, stop


def auc_and_seconds(binaries, table, store, options):
    statements = f"CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{table}';"
    statements += f"CREATE OR REPLACE MODEL m USING cnn OPTIONS ({options}) TRAIN ON x;"
    command = [binaries / "tusk", "sql", "--store", store, "--format", "json", "-c", statements]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        stop(f"tusk sql failed: {done.stderr}")
    epochs = [json.loads(line) for line in done.stdout.splitlines() if '"epoch"' in line]
    best = min(epochs, key=lambda row: row["val_loss"])
    return best["val_roc_auc"], statistics.median(row["seconds"] for row in epochs[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--group", default="group", help="column of the patients; '' for none")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    group = f", \"group\" = '{args.group}'" if args.group else ""
    print("| seed | ROC AUC, f32 | ROC AUC, bf16 | bf16 - f32 | seconds of an epoch, f32 | bf16 |")
    print("|---|---|---|---|---|---|", flush=True)
    differences = []
    with tempfile.TemporaryDirectory(prefix="tusk-precision-") as store:
        for seed in args.seeds:
            figures = []
            for precision in ("f32", "bf16"):
                options = f"epochs = {args.epochs}, early_stop = false, seed = {seed}, precision = '{precision}'{group}"
                figures.append(auc_and_seconds(args.bin, args.table.resolve(), store, options))
            (f32, f32_seconds), (bf16, bf16_seconds) = figures
            differences.append(bf16 - f32)
            print(f"| {seed} | {f32:.4f} | {bf16:.4f} | {bf16 - f32:+.4f} | {f32_seconds:.1f} | {bf16_seconds:.1f} |", flush=True)
    print(f"\nmean difference over {len(differences)} seeds: {statistics.mean(differences):+.4f}")


if __name__ == "__main__":
    main()
