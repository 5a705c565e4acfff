#!/usr/bin/env python3
"""Measures the time from JPEG files until Tusk reaches the ROC AUC that PyTorch's script has after three epochs, for some seeds.

    benches/peers/time_to_auc.py FOLDER [--seeds 1 2 3] [--net cnn] [--epochs 8] [--bin target/dist]

PyTorch's script is that of endtoend.py (`cnn_reference`, float32, channels-last, a DataLoader, three epochs). Tusk trains `--net` with
its defaults, and validates after every epoch on the patients that endtoend.py holds out. Its seconds are those of the process until
the first epoch whose ROC AUC is at least PyTorch's with the same seed. A seed takes five minutes on two cores.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from endtoend import split
from environment import BIN, HERE, python_with_torch


def pytorch(python, folder, seed):
    """Seconds of PyTorch's script, as it counts them, and its ROC AUC."""
    command = [python, HERE / "pytorch_files.py", folder / "train", folder / "test", str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != 0:
        sys.exit("time_to_auc: pytorch_files.py failed; run it by hand")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], answer["roc_auc"]


def tusk(args, folder, seed, wanted):
    """Seconds to the first epoch that has the wanted ROC AUC (None if none has), that epoch, and its ROC AUC."""
    tables = [f"CREATE EXTERNAL TABLE {name} STORED AS IMAGES LOCATION '{folder}/{name}/';" for name in ("train", "test")]
    options = f"epochs = {args.epochs}, seed = {seed}, early_stop = false"
    create = f"CREATE OR REPLACE MODEL m USING {args.net} OPTIONS ({options}) TRAIN ON train VALIDATE ON test;"
    sql = [args.bin / "tusk", "sql", "--store", folder / "store", "--format", "json", "-c", "".join(tables) + create]
    started, reached, best = time.perf_counter(), None, 0.0
    process = subprocess.Popen([str(word) for word in sql], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        row = json.loads(line) if line.startswith("{") else {}
        best = max(best, row.get("val_roc_auc", 0.0))
        if reached is None and best >= wanted:
            reached = (time.perf_counter() - started, row["epoch"])
    if process.wait() != 0:
        sys.exit("time_to_auc: tusk sql failed; run its statement by hand")
    return *(reached or (None, args.epochs)), best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--net", default="cnn")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--group-regex", default=r"(person\d+|(NORMAL2-)?IM-\d+)")
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    torch, ratios = python_with_torch(), []
    print("| seed | PyTorch, 3 epochs | PyTorch's ROC AUC | Tusk, until that ROC AUC | epoch | Tusk's best ROC AUC | Tusk's fraction of PyTorch's time |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="tusk-auc-") as folder:
        folder = pathlib.Path(folder)
        split(args.folder, folder, args.group_regex)
        for seed in args.seeds:
            theirs, wanted = pytorch(torch, folder, seed)
            ours, epoch, best = tusk(args, folder, seed, wanted)
            seconds, share = ("not reached", "") if ours is None else (f"{ours:.0f} s", f"{ours / theirs:.2f}")
            ratios.append(float("inf") if ours is None else ours / theirs)
            print(f"| {seed} | {theirs:.0f} s | {wanted:.4f} | {seconds} | {epoch} | {best:.4f} | {share} |", flush=True)
    print(f"\nmedian fraction: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
