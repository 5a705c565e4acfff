#!/usr/bin/env python3
"""Images per second on two cores, side by side: two one-core tusk-executors against PyTorch's DistributedDataParallel.

    benches/peers/throughput.py [--rounds 3] [--images 768] [--bin target/debug]

The same net (`cnn_reference`), the same pictures, batches of 32 per worker, Adam 1e-3, no augmentation. The sides take
turns, round after round, because a machine's speed wanders; an epoch's rate is images over wall seconds, and the first
epoch of each start is left out. Tusk's seconds are those that CREATE MODEL shows: job, exchange and checkpoint
included. PyTorch 2.11.0 comes from PyPI into a virtual environment under the target folder (about 6 GB with the CUDA
libraries that the wheel wants, though no GPU is used); PEERS_PYTHON names a Python that has it already.
"""

import argparse
import json
import os
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

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parents[1] / "target")
SIDE, WORKERS, START_SECONDS = 128, 2, 60
OPTIONS = "workers = 2, batch_size = 32, augment = 'none', validation_fraction = 0, early_stop = false"


def stop(sentence):
    sys.exit(f"throughput: {sentence}")


def python_with_torch():
    given = os.environ.get("PEERS_PYTHON")
    if given:
        return given
    folder = TARGET / "peers"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"installing PyTorch 2.11.0 into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        packages = ["torch==2.11.0", "numpy==2.3.5"]
        if subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=False).returncode != 0:
            stop("PyTorch could not be installed (pip's message is above); PEERS_PYTHON may name a Python that has it")
        (folder / ".ready").touch()
    return str(python)


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
    """A scheduler and two executors of one core each, as processes."""

    def __init__(self, binaries, folder):
        self.tusk, self.folder, self.processes = binaries / "tusk", folder, []
        self.port, *ports = free_ports(1 + 3 * WORKERS)
        self.start(binaries, "tusk-scheduler", "scheduler", self.port, "--bind-port", self.port)
        for worker in range(WORKERS):
            flight, grpc, http = ports[3 * worker : 3 * worker + 3]
            flags = ["--scheduler-host", "127.0.0.1", "--scheduler-port", self.port, "--bind-port", flight]
            flags += ["--bind-grpc-port", grpc, "--bind-health-port", http, "--vcores", 1]
            flags += ["--cache-dir", folder / f"cache-{worker}", "--work-dir", folder / f"work-{worker}"]
            self.start(binaries, "tusk-executor", f"executor-{worker}", grpc, "--external-host", "127.0.0.1", *flags)

    def start(self, binaries, program, name, port, *flags):
        log = open(self.folder / f"{name}.log", "w")
        command = [binaries / program, "--bind-host", "127.0.0.1", "--store", self.folder / "store", *flags]
        for key in ("cache-0", "cache-1", "work-0", "work-1"):
            (self.folder / key).mkdir(exist_ok=True)
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self.processes.append(process)
        wait_for(port, process, self.folder / name)

    def epochs(self, precision, epochs):
        """The wall seconds of each epoch."""
        statements = f"""
            CREATE EXTERNAL TABLE pictures STORED AS IMAGES LOCATION '{self.folder}/pictures/';
            CREATE OR REPLACE MODEL speed USING cnn_reference
                OPTIONS ({OPTIONS}, precision = '{precision}', epochs = {epochs}) TRAIN ON pictures;"""
        url = f"df://127.0.0.1:{self.port}"
        command = [self.tusk, "sql", "--scheduler", url, "--store", self.folder / "store", "--format", "json"]
        command = [str(word) for word in [*command, "-c", statements]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            stop(f"tusk sql failed: {done.stderr}")
        rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        workers = {row["workers"] for row in rows if "workers" in row}
        if workers != {WORKERS}:
            stop(f"the run had {workers} workers, not {WORKERS}: {done.stdout}")
        return [row["seconds"] for row in rows if "epoch" in row]

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)


def ddp_epochs(python, folder, epochs, *flags):
    command = [python, HERE / "ddp.py", folder / "pixels.npy", folder / "labels.npy", "--epochs", epochs, *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        stop(f"ddp.py failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])["seconds"]


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
        cluster = Cluster(args.bin.resolve(), folder)
        sides = {
            "PyTorch DDP, float32, channels-last": lambda: ddp_epochs(python, folder, args.epochs),
            "PyTorch DDP, bf16 autocast, channels-last": lambda: ddp_epochs(python, folder, args.epochs, "--bf16"),
            "Tusk, two executors, precision = 'f32'": lambda: cluster.epochs("f32", args.epochs),
            "Tusk, two executors, precision = 'auto'": lambda: cluster.epochs("auto", args.epochs),
        }
        rates = {side: [] for side in sides}
        try:
            for round_ in range(args.rounds):
                for side, run in sides.items():
                    rates[side] += [args.images / seconds for seconds in run()[1:]]
                    print(f"round {round_ + 1}: {side}: {statistics.median(rates[side]):.1f} images/s", file=sys.stderr)
        finally:
            cluster.close()
    base = statistics.median(next(iter(rates.values())))
    print("| two processes of one thread | images/s, median | least | most | ratio to DDP float32 |")
    print("|---|---|---|---|---|")
    for side, values in rates.items():
        middle = statistics.median(values)
        print(f"| {side} | {middle:.1f} | {min(values):.1f} | {max(values):.1f} | {middle / base:.2f} |")


if __name__ == "__main__":
    main()
