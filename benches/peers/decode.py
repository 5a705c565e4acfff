#!/usr/bin/env python3
"""Compares decoders in images per second, from JPEG files to net inputs: Tusk, simplejpeg + OpenCV, Pillow, Spark.

    benches/peers/decode.py FOLDER [--rounds 5] [--side 224] [--bin target/dist]

All decoders read the same files from memory, with one and with two threads. They take turns, in a different order in each round. The
last column is the mean absolute difference, in grey levels, from Pillow's full decode and bilinear resampling. Spark needs Java 17 or
later.
"""

import argparse
import concurrent.futures
import io
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from environment import BIN, HERE, python_with

PACKAGES = ["numpy==2.2.6", "opencv-python-headless==4.12.0.88", "pillow==12.0.0", "simplejpeg==1.8.2"]
SPARK_PACKAGES = ["pyspark==4.1.4", "pandas==2.3.3", "pyarrow==22.0.0", "pillow==12.0.0"]
PEERS = ["Pillow, full decode", "Pillow, draft", "OpenCV, reduced to a quarter", "simplejpeg + OpenCV"]


def peers():
    """The decoders by name: bytes to a square of grey."""
    import cv2
    import numpy
    import simplejpeg
    from PIL import Image

    cv2.setNumThreads(1)

    def pillow(data, side, draft):
        image = Image.open(io.BytesIO(data))
        if draft:
            image.draft("L", (side, side))
        return numpy.asarray(image.convert("L").resize((side, side), Image.Resampling.BILINEAR))

    def simple(data, side):
        grey = simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=side, min_width=side)
        return cv2.resize(grey[:, :, 0], (side, side), interpolation=cv2.INTER_AREA)

    def opencv(data, side):
        flags = cv2.IMREAD_REDUCED_GRAYSCALE_4
        grey = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), flags)
        return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)

    return dict(zip(PEERS, [
        lambda data, side: pillow(data, side, False),
        lambda data, side: pillow(data, side, True),
        opencv,
        simple,
    ]))


def worker(args):
    """Runs one decoder in a process of its own."""
    import numpy

    files = [path.read_bytes() for path in sorted(p for p in args.folder.rglob("*") if p.is_file())]
    decode = peers()[args.peer]
    pool = concurrent.futures.ThreadPoolExecutor(args.threads)
    started = time.perf_counter()
    if args.threads == 1:
        squares = [decode(data, args.side) for data in files]
    else:
        squares = list(pool.map(lambda data: decode(data, args.side), files))
    seconds = time.perf_counter() - started
    if args.out:
        numpy.concatenate([square.reshape(-1) for square in squares]).tofile(args.out)
    print(json.dumps({"images": len(files), "seconds": [seconds]}))


def difference(python, a, b):
    code = ("import numpy, sys; a, b = (numpy.fromfile(p, numpy.uint8).astype(numpy.int16) for p in sys.argv[1:]); "
            "print(numpy.abs(a - b).mean())")
    return float(subprocess.run([python, "-c", code, a, b], check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="JPEG files, at any depth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        worker(args)
        return
    with tempfile.TemporaryDirectory(prefix="tusk-decode-") as folder:
        compare(args, pathlib.Path(folder))


def compare(args, folder):
    python = python_with("decode", PACKAGES)
    # By the decoder's name and the number of threads; Spark has its two cores.
    commands = {(name, threads): [python, __file__, args.folder, "--peer", name, "--threads", threads]
                for name in PEERS for threads in (1, 2)}
    if shutil.which("java"):
        spark = python_with("spark", SPARK_PACKAGES)
        for way in ("pandas", "arrow"):
            commands[f"Spark, {way}", 2] = [spark, HERE / "spark.py", args.folder, "--way", way]
    else:
        print("decode: java not found; skipping Spark", file=sys.stderr)
    for threads in (1, 2):
        commands["Tusk", threads] = [args.bin / "decode", args.folder, "--rounds", 1, "--threads", threads]
    outs = {name: folder / f"{n}.raw" for n, name in enumerate([*PEERS, "Tusk"])}
    rates, beyond = {side: [] for side in commands}, []
    for round_ in range(args.rounds):
        # The previous process may still return memory to the kernel, so each round has its own order.
        for name, threads in random.Random(round_).sample(list(commands), len(commands)):
            command = [*commands[name, threads], "--side", args.side, *(["--out", outs[name]] if name in outs else [])]
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"decode: {name} failed: {done.stderr}")
            answer = json.loads(done.stdout.splitlines()[-1])
            rates[name, threads].append(answer["images"] / answer["seconds"][0])
            beyond.append(answer.get("beyond_output_mib", 0))
        print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr)
    print("| decoder | images/s, 1 thread | ratio | images/s, 2 threads | ratio | mean difference from Pillow's full decode, in grey levels |")
    print("|---|---|---|---|---|---|")
    best = {threads: statistics.median(rates["simplejpeg + OpenCV", threads]) for threads in (1, 2)}
    for name in dict.fromkeys(name for name, _ in commands):
        cells = []
        for threads in (1, 2):
            seen = rates.get((name, threads))
            middle = statistics.median(seen) if seen else None
            cells += [f"{middle:.0f}", f"{middle / best[threads]:.2f}"] if seen else ["", ""]
        distance = f"{difference(python, outs[name], outs[PEERS[0]]):.2f}" if name in outs else ""
        print(f"| {name} | {' | '.join(cells)} | {distance} |")
    print(f"\nTusk's peak memory without the files and the net inputs: {max(beyond):.1f} MiB")


if __name__ == "__main__":
    main()
