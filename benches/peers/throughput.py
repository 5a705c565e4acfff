#!/usr/bin/env python3
"""Compares training in images per second on two cores: Tusk and PyTorch, as two workers of one thread and as one worker of two.

    benches/peers/throughput.py [--rounds 3] [--images 768] [--bin target/dist]

Both systems train the same net (`cnn_reference`) on the same images, with batches of 32 per worker and Adam 1e-3, without augmentation.
They take turns in each round, because a machine's speed varies over time. Speed is images per wall second of an epoch. The first epoch
of each process is left out. Tusk's seconds are those that CREATE MODEL shows, including job, exchange and checkpoint. PEERS_PYTHON
names a Python that has PyTorch.
"""

import argparse
import json
import pathlib
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import zlib

from environment import BIN, HERE, python_with_torch

from cluster import Cluster, stop

SIDE = 128
OPTIONS = "batch_size = 32, augment = 'none', validation_fraction = 0, early_stop = false"


def png(pixels):
    """Encodes a grey image as PNG without a row filter."""
    rows = b"".join(b"\0" + pixels[SIDE * y : SIDE * (y + 1)] for y in range(SIDE))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    framed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def npy(path, data, shape):
    """Bytes as a file that numpy loads."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data)


def write_images(folder, count):
    """Noise: what a net makes of it does not matter here, only how long it takes."""
    noise, images, labels = random.Random(42), b"", b""
    for n in range(count):
        pixels = noise.randbytes(SIDE * SIDE)
        path = folder / "images" / ("NORMAL", "PNEUMONIA")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))
        images, labels = images + pixels, labels + bytes([n % 2])
    npy(folder / "pixels.npy", images, (count, SIDE, SIDE))
    npy(folder / "labels.npy", labels, (count,))


def pytorch_epochs(python, folder, epochs, *flags):
    command = [python, HERE / "training.py", folder / "pixels.npy", folder / "labels.npy", "--epochs", epochs, *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        stop(f"training.py failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def tusk_epochs(cluster, precision, epochs):
    tables = f"CREATE EXTERNAL TABLE images STORED AS IMAGES LOCATION '{cluster.folder}/images/';"
    options = f"{OPTIONS}, precision = '{precision}', epochs = {epochs}"
    return [row["seconds"] for row in cluster.train("cnn_reference", options, "images", tables)]


def compare(title, sides, args):
    """Prints a table of the sides' rates; the first is what the others are measured against."""
    rates = {side: [] for side in sides}
    for round_ in range(args.rounds):
        for side, run in sides.items():
            rates[side] += [args.images / seconds for seconds in run()[1:]]
            print(f"round {round_ + 1}: {side}: {statistics.median(rates[side]):.1f} images/s", file=sys.stderr)
    first = next(iter(sides))
    print(f"| {title} | images/s, median | minimum | maximum | ratio to the first row |")
    print("|---|---|---|---|---|")
    for side, values in rates.items():
        middle = statistics.median(values)
        ratio = middle / statistics.median(rates[first])
        print(f"| {side} | {middle:.1f} | {min(values):.1f} | {max(values):.1f} | {ratio:.2f} |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="epochs per round and side; the first is not counted")
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    python = python_with_torch()
    with tempfile.TemporaryDirectory(prefix="tusk-throughput-") as folder:
        folder = pathlib.Path(folder)
        write_images(folder, args.images)
        for title, processes, threads in [("two workers of one thread", 2, 1), ("one worker of two threads", 1, 2)]:
            shape = ("--processes", processes, "--threads", threads)

            def pytorch(*flags, shape=shape):
                return lambda: pytorch_epochs(python, folder, args.epochs, *shape, *flags)

            peer = "PyTorch, DistributedDataParallel" if processes > 1 else "PyTorch"
            sides = {f"{peer}, float32": pytorch(), f"{peer}, bf16 autocast": pytorch("--bf16")}
            if processes > 1:
                sides["PyTorch, workers without exchange, bf16 autocast"] = pytorch("--bf16", "--apart")
            with Cluster(args.bin.resolve(), folder, processes, threads) as cluster:
                for precision in ("f32", "auto"):
                    sides[f"Tusk, precision = '{precision}'"] = lambda cluster=cluster, precision=precision: (
                        tusk_epochs(cluster, precision, args.epochs)
                    )
                compare(title, sides, args)


if __name__ == "__main__":
    main()
