#!/usr/bin/env python3
"""Images per second on two cores, side by side: Tusk against PyTorch, as two workers of one thread and as one of two.

    benches/peers/throughput.py [--rounds 3] [--images 768] [--bin target/debug]

The same net (`cnn_reference`), the same pictures, batches of 32 per worker, Adam 1e-3, no augmentation. The sides take
turns, round after round, because a machine's speed wanders; an epoch's rate is images over wall seconds, and the first
epoch of each start is left out. Tusk's seconds are those that CREATE MODEL shows: job, exchange and checkpoint
included. PEERS_PYTHON names a Python that has PyTorch already.
"""

import argparse
import json
import pathlib
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

from environment import HERE, TARGET, python_with_torch

SIDE, START_SECONDS = 128, 60
OPTIONS = "batch_size = 32, augment = 'none', validation_fraction = 0, early_stop = false"


def stop(sentence):
    sys.exit(f"throughput: {sentence}")


def png(pixels):
    """A grey picture as PNG, filtered by nothing."""
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


def write_pictures(folder, count):
    """Noise: what a net makes of it does not matter here, only how long it takes."""
    noise, pictures, labels = random.Random(42), b"", b""
    for n in range(count):
        pixels = noise.randbytes(SIDE * SIDE)
        path = folder / "pictures" / ("NORMAL", "PNEUMONIA")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))
        pictures, labels = pictures + pixels, labels + bytes([n % 2])
    npy(folder / "pixels.npy", pictures, (count, SIDE, SIDE))
    npy(folder / "labels.npy", labels, (count,))


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port, process, what):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    stop(f"{what} did not start within {START_SECONDS} s; its log is in {what}.log")


class Cluster:
    """A scheduler and executors of some threads each, as processes."""

    def __init__(self, binaries, folder, workers, threads):
        self.tusk, self.folder, self.workers, self.processes = binaries / "tusk", folder, workers, []
        self.port, *ports = free_ports(1 + 3 * workers)
        self.start(binaries, "tusk-scheduler", "scheduler", self.port, "--bind-port", self.port)
        for worker in range(workers):
            flight, grpc, http = ports[3 * worker : 3 * worker + 3]
            flags = ["--scheduler-host", "127.0.0.1", "--scheduler-port", self.port, "--bind-port", flight]
            flags += ["--bind-grpc-port", grpc, "--bind-health-port", http, "--vcores", threads]
            cache, work = folder / f"cache-{worker}", folder / f"work-{worker}"
            cache.mkdir(exist_ok=True)
            work.mkdir(exist_ok=True)
            flags += ["--cache-dir", cache, "--work-dir", work]
            self.start(binaries, "tusk-executor", f"executor-{worker}", grpc, "--external-host", "127.0.0.1", *flags)

    def start(self, binaries, program, name, port, *flags):
        log = open(self.folder / f"{name}.log", "w")
        command = [binaries / program, "--bind-host", "127.0.0.1", "--store", self.folder / "store", *flags]
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self.processes.append(process)
        wait_for(port, process, self.folder / name)

    def epochs(self, precision, epochs):
        """The wall seconds of each epoch."""
        statements = f"""
            CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{self.folder}/pictures/';
            CREATE OR REPLACE MODEL speed USING cnn_reference
                OPTIONS ({OPTIONS}, workers = {self.workers}, precision = '{precision}', epochs = {epochs}) TRAIN ON pictures;"""
        url = f"df://127.0.0.1:{self.port}"
        command = [self.tusk, "sql", "--scheduler", url, "--store", self.folder / "store", "--format", "json"]
        command = [str(word) for word in [*command, "-c", statements]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            stop(f"tusk sql failed: {done.stderr}")
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        workers = {row["workers"] for row in rows if "workers" in row}
        if workers != {self.workers}:
            stop(f"the run had {workers} workers, not {self.workers}: {done.stdout}")
        return [row["seconds"] for row in rows if "epoch" in row]

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)


def pytorch_epochs(python, folder, epochs, *flags):
    command = [python, HERE / "training.py", folder / "pixels.npy", folder / "labels.npy", "--epochs", epochs, *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        stop(f"training.py failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


def compare(title, sides, args):
    """Prints a table of the sides' rates; the first is what the others are measured against."""
    rates = {side: [] for side in sides}
    for round_ in range(args.rounds):
        for side, run in sides.items():
            rates[side] += [args.images / seconds for seconds in run()[1:]]
            print(f"round {round_ + 1}: {side}: {statistics.median(rates[side]):.1f} images/s", file=sys.stderr)
    first = next(iter(sides))
    print(f"| {title} | images/s, median | least | most | ratio to the first |")
    print("|---|---|---|---|---|")
    for side, values in rates.items():
        middle = statistics.median(values)
        ratio = middle / statistics.median(rates[first])
        print(f"| {side} | {middle:.1f} | {min(values):.1f} | {max(values):.1f} | {ratio:.2f} |")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="per round and side; the first is left out")
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--bin", type=pathlib.Path, default=TARGET / "debug", help="where the binaries are")
    args = parser.parse_args()
    python = python_with_torch()
    with tempfile.TemporaryDirectory(prefix="tusk-throughput-") as folder:
        folder = pathlib.Path(folder)
        write_pictures(folder, args.images)
        for title, processes, threads in [("two workers of one thread", 2, 1), ("one worker of two threads", 1, 2)]:
            shape = ("--processes", processes, "--threads", threads)

            def pytorch(*flags, shape=shape):
                return lambda: pytorch_epochs(python, folder, args.epochs, *shape, *flags)

            peer = "PyTorch, DistributedDataParallel" if processes > 1 else "PyTorch"
            sides = {f"{peer}, float32": pytorch(), f"{peer}, bf16 autocast": pytorch("--bf16")}
            if processes > 1:
                sides["PyTorch, workers that exchange nothing, bf16 autocast"] = pytorch("--bf16", "--apart")
            cluster = Cluster(args.bin.resolve(), folder, processes, threads)
            sides["Tusk, precision = 'f32'"] = lambda cluster=cluster: cluster.epochs("f32", args.epochs)
            sides["Tusk, precision = 'auto'"] = lambda cluster=cluster: cluster.epochs("auto", args.epochs)
            try:
                compare(title, sides, args)
            finally:
                cluster.close()


if __name__ == "__main__":
    main()
