#!/usr/bin/env python3
"""Compares systems from JPEG files to a model: Tusk, PyTorch with a DataLoader, Elephas on Spark.

    benches/peers/endtoend.py FOLDER [--rounds 1] [--bin target/dist]

FOLDER has the folders NORMAL and PNEUMONIA. A tenth of the patients is held out for ROC AUC, by the hash of what `--group-regex`
finds in the file name. All systems train the same net (`cnn_reference`) for three epochs with batches of 32 and Adam 1e-3, without
augmentation and class weights. The seed is the number of the round. Seconds are those from the first file read to the trained model;
for Tusk, those of the whole process. Memory is the peak of all processes of a system together, sampled ten times a second. A round
takes a quarter of an hour on two cores.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from environment import BIN, HERE, python_with, python_with_torch

ELEPHAS = ["elephas==7.3.0", "pillow==12.0.0"]
OPTIONS = "epochs = 3, batch_size = 32, learning_rate = 0.001, schedule = 'constant', optimizer = 'adam', augment = 'none', "
OPTIONS += "class_weights = 'none', validation_fraction = 0, early_stop = false"


def split(source, folder, regex):
    """Copies the files below `folder`/train and `folder`/test; the same for every side."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        patient = re.search(regex, path.name)
        digest = hashlib.sha256((patient.group(0) if patient else path.name).encode()).digest()
        to = folder / ("test" if digest[0] < 26 else "train") / path.parent.name / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def memory_bytes(root):
    """Of a process and all below it; what several of them share counts once (proportional set size)."""
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stat = pathlib.Path(entry.path, "stat").read_text()
                parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
            except OSError:
                continue

    def below(process):
        while process in parents and process != root:
            process = parents[process]
        return process == root

    return sum(proportional_bytes(process) for process in list(parents) if below(process))


def proportional_bytes(process):
    try:
        lines = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def measured(command):
    """Output, seconds and peak bytes of a command."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started, peak = time.perf_counter(), 0
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=err)
        while process.poll() is None:
            peak = max(peak, memory_bytes(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            sys.exit(f"endtoend: {command[0]} failed: {err.read()[-4000:]}")
        return out.read(), seconds, peak


def tusk(binaries, folder, seed):
    sql = [binaries / "tusk", "sql", "--store", folder / "store", "--format", "json", "-c"]
    tables = [f"CREATE EXTERNAL TABLE {name} STORED AS IMAGES LOCATION '{folder}/{name}/';" for name in ("train", "test")]
    create = f"CREATE OR REPLACE MODEL m USING cnn_reference OPTIONS ({OPTIONS}, seed = {seed}) TRAIN ON train;"
    _, seconds, peak = measured([*sql, tables[0] + create])
    answer, _, _ = measured([*sql, tables[1] + "EVALUATE MODEL m ON test;"])
    rows = [json.loads(line) for line in answer.splitlines() if line.startswith("{")]
    return seconds, rows[-1]["roc_auc"], peak


def python_side(command):
    answer, _, peak = measured(command)
    answer = json.loads(answer.splitlines()[-1])
    return answer["seconds"], answer["roc_auc"], peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--group-regex", default=r"(person\d+|(NORMAL2-)?IM-\d+)")
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    torch = python_with_torch()
    with tempfile.TemporaryDirectory(prefix="tusk-endtoend-") as folder:
        folder = pathlib.Path(folder)
        split(args.folder, folder, args.group_regex)
        data = [folder / "train", folder / "test"]
        sides = {
            "Tusk": lambda seed: tusk(args.bin, folder, seed),
            "PyTorch + DataLoader, float32": lambda seed: python_side([torch, HERE / "pytorch_files.py", *data, seed]),
        }
        if shutil.which("java"):
            elephas = python_with("elephas", ELEPHAS)
            for mode in ("synchronous", "asynchronous"):
                command = [elephas, HERE / "elephas_files.py", *data, mode]
                sides[f"Elephas, {mode}"] = lambda seed, command=command: python_side([*command, seed])
        else:
            print("endtoend: java not found; skipping Elephas", file=sys.stderr)
        results = {side: [] for side in sides}
        for seed in range(1, args.rounds + 1):
            for side, run in sides.items():
                results[side].append(run(seed))
                seconds, auc, peak = results[side][-1]
                print(f"round {seed}: {side}: {seconds:.1f} s, ROC AUC {auc:.4f}, {peak / 1e9:.2f} GB", file=sys.stderr)
    print("| from files to a model, 3 epochs | seconds | ROC AUC on other patients | peak GB | Tusk's seconds as a fraction |")
    print("|---|---|---|---|---|")
    middles = {side: [statistics.median(column) for column in zip(*rows)] for side, rows in results.items()}
    for side, (seconds, auc, peak) in middles.items():
        print(f"| {side} | {seconds:.0f} | {auc:.4f} | {peak / 1e9:.2f} | {middles['Tusk'][0] / seconds:.2f} |")


if __name__ == "__main__":
    main()
