#!/usr/bin/env python3
"""Measures how the speed of training depends on the rows, the workers and the net: tables, plots and log-log slopes.

    benches/scaling.py TABLE.parquet [--plots docs/plots] [--bin target/dist]

Speed is images per wall second of an epoch, including job, exchange and checkpoint. The first epoch decodes and is left out. The
slope is that of a straight line through the logarithms. It is 0 if the cost of an image is constant, and -1 if the cost is
proportional. When the number of workers varies, each executor has one thread, so more than two workers share two cores.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

from cluster import BIN, Cluster

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
from environment import python_with

ROWS = (1_000, 4_000, 16_000, 64_000, 200_000)
# The table grows under the net that computes least, so that what is not computing shows.
ROWS_NET, ROWS_OPTIONS = "svm", ", features = 'pixels', batch_size = 256"
WORKERS, WORKERS_ROWS = (1, 2, 4, 8), 2_000
NETS, NETS_ROWS, NETS_SIDE = {"cnn_reference": 0.42, "resnet18": 11.2, "resnet50": 23.5, "vgg16": 134.3}, 192, 64
OPTIONS = "epochs = 3, early_stop = false, validation_fraction = 0, augment = 'none'"

PLOT = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "tusk"
from matplotlib import pyplot
title, x_label, points, path = json.loads(sys.argv[1])
figure, axes = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
axes.loglog(*zip(*points), "o-")
axes.set(title=title, xlabel=x_label, ylabel="images/s")
axes.grid(True, which="both", alpha=0.3)
figure.savefig(path, metadata={"Date": None})
"""


def rate(cluster, net, rows, extra=""):
    external = f"CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{cluster.table}';"
    epochs = cluster.train(net, f"{OPTIONS}{extra}", f"(SELECT image, label FROM x LIMIT {rows})", external)
    return statistics.median(row["images"] / row["seconds"] for row in epochs[1:])


def cluster(args, workers, threads):
    folder = tempfile.mkdtemp(dir=args.scratch)
    started = Cluster(args.bin.resolve(), pathlib.Path(folder), workers, threads)
    started.table = args.table.resolve()
    return started


def by_rows(args):
    with cluster(args, 1, 2) as one:
        return [(rows, rate(one, ROWS_NET, rows, ROWS_OPTIONS)) for rows in ROWS if rows <= args.rows_max]


def by_workers(args):
    points = []
    for workers in WORKERS:
        with cluster(args, workers, 1) as some:
            points.append((workers, rate(some, "cnn", WORKERS_ROWS)))
    return points


def by_net(args):
    extra = f", image_size = {NETS_SIDE}, optimizer = 'sgd', learning_rate = 0.001, averages_per_epoch = 1"
    with cluster(args, 1, 2) as one:
        return [(millions * 1e6, rate(one, net, NETS_ROWS, extra)) for net, millions in NETS.items()]


def report(args, name, title, x_label, points):
    slope, _ = statistics.linear_regression(*([math.log(value) for value in column] for column in zip(*points)))
    print(f"\n| {x_label} | images/s |\n|---|---|")
    for x, y in points:
        print(f"| {x:,.0f} | {y:.1f} |")
    print(f"\n{title}: slope {slope:+.2f}\n\n![{title}](plots/{name}.svg)", flush=True)
    args.plots.mkdir(parents=True, exist_ok=True)
    given = json.dumps([title, x_label, points, str(args.plots / f"{name}.svg")])
    subprocess.run([python_with("plots", ["matplotlib==3.10.7"]), "-c", PLOT, given], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--rows-max", type=int, default=ROWS[-1])
    parser.add_argument("--plots", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1] / "docs" / "plots")
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tusk-scaling-") as args.scratch:
        report(args, "rows", "svm on pixels, one worker of two threads, by table", "rows of the table", by_rows(args))
        report(args, "workers", f"cnn, {WORKERS_ROWS:,} rows, by workers", "workers of one thread", by_workers(args))
        report(args, "parameters", f"{NETS_SIDE} pixels, SGD, by net", "parameters", by_net(args))


if __name__ == "__main__":
    main()
