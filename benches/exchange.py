#!/usr/bin/env python3
"""Measures the exchange of a large net's weights: an epoch of VGG-16, and a copy of the same number of bytes over TCP.

    benches/exchange.py [--net vgg16] [--workers 4] [--epochs 3] [--bin target/dist]

Every executor takes one step on a few small images, so an epoch is almost only exchange. Each executor reads the checkpoint and
returns its weights and moments. The scheduler averages them and writes the next checkpoint. SHOW TRAINING, which is printed to
stderr, has the seconds of each part. After the run, the command copies as many bytes as the task outputs have through a socket
of the loopback interface, in messages of 4 MiB. It needs about 4 GB of memory per executor and 3 GB for the scheduler.
"""

import argparse
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from cluster import BIN, Cluster, peak_bytes, stop

MESSAGE_BYTES = 4 << 20
SIDE, IMAGES = 32, 64
OPTIONS = f"image_size = {SIDE}, optimizer = 'sgd', augment = 'none', validation_fraction = 0, early_stop = false, "
OPTIONS += f"schedule = 'constant', class_weights = 'none', batch_size = {IMAGES}, averages_per_epoch = 1"

SENDER = """
import socket, sys
port, count, size = map(int, sys.argv[1:])
message = bytes(size)
with socket.create_connection(("127.0.0.1", port)) as s:
    s.recv(1)
    for _ in range(count):
        s.sendall(message)
"""


def copy_seconds(count):
    """Seconds for bytes from another process through a loopback socket, in whole messages."""
    messages = -(-count // MESSAGE_BYTES)
    buffer = bytearray(MESSAGE_BYTES)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-c", SENDER, str(port), str(messages), str(MESSAGE_BYTES)]
        with subprocess.Popen(command) as sender:
            connection, _ = server.accept()
            with connection:
                started, received = time.perf_counter(), 0
                connection.sendall(b"x")
                while got := connection.recv_into(buffer):
                    received += got
                seconds = time.perf_counter() - started
            sender.wait()
    if received != messages * MESSAGE_BYTES:
        stop(f"the copy received {received} bytes of {messages * MESSAGE_BYTES}")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="vgg16")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3, help="epochs; the first is not counted")
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    binaries = args.bin.resolve()
    with tempfile.TemporaryDirectory(prefix="tusk-exchange-") as folder:
        folder = pathlib.Path(folder)
        images = folder / "images.parquet"
        draw = [binaries / "tusk", "draw", images, "--images", IMAGES, "--size", SIDE]
        subprocess.run([str(word) for word in draw], check=True, capture_output=True)
        table = f"CREATE EXTERNAL TABLE images STORED AS PARQUET LOCATION '{images}';"
        with Cluster(binaries, folder, args.workers, 1) as cluster:
            epochs = cluster.train(args.net, f"{OPTIONS}, epochs = {args.epochs}", "images", table)[1:]
            training = cluster.sql("SHOW TRAINING bench;")[0]
            scheduler, executors = peak_bytes(cluster.scheduler), [peak_bytes(e) for e in cluster.executors]
        checkpoint = max(f.stat().st_size for f in (folder / "store").rglob("*.safetensors"))
    print(training, file=sys.stderr)
    seconds = statistics.median(row["seconds"] for row in epochs)
    copy = statistics.median(copy_seconds(args.workers * checkpoint) for _ in range(3))
    print(f"| {args.net}, {args.workers} workers | |")
    print("|---|---|")
    print(f"| weights and moments of one worker | {checkpoint / 1e6:.0f} MB |")
    learned = training["train_seconds"] / args.workers / args.epochs
    checkpoint_seconds = training["checkpoint_seconds"] / args.epochs
    print(f"| an epoch | {seconds:.1f} s |")
    print(f"| training, per worker | {learned:.1f} s |")
    print(f"| writing the checkpoint | {checkpoint_seconds:.1f} s |")
    print(f"| the rest: transferring and averaging task outputs, reading the checkpoint | {seconds - learned - checkpoint_seconds:.1f} s |")
    print(f"| copying as many bytes as the task outputs have through loopback TCP | {copy:.1f} s |")
    print(f"| scheduler, peak memory | {scheduler / 1e6:.0f} MB |")
    print(f"| executor, peak memory | {max(executors) / 1e6:.0f} MB |")


if __name__ == "__main__":
    main()
