#!/usr/bin/env python3
"""Images per second from JPEG files to grey squares, side by side: Tusk, simplejpeg + OpenCV, Pillow.

    benches/peers/decode.py FOLDER [--rounds 5] [--side 224] [--bin target/debug]

Every side decodes the same files from memory, on one and on two threads; the sides take turns, round after round. The last
column is how far the squares lie from Pillow's full decode and bilinear resampling: the mean absolute difference in grey
levels. The peers come from PyPI into a virtual environment under the target folder.
"""

import argparse
import concurrent.futures
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parents[1] / "target")
PACKAGES = ["numpy==2.2.6", "opencv-python-headless==4.12.0.88", "pillow==12.0.0", "simplejpeg==1.8.2"]


def python_with_peers():
    folder = TARGET / "decode-peers"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        if subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=False).returncode != 0:
            sys.exit("decode: the peers could not be installed (pip's message is above)")
        (folder / ".ready").touch()
    return python


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

    return {
        "Pillow, full decode": lambda data, side: pillow(data, side, False),
        "Pillow, draft": lambda data, side: pillow(data, side, True),
        "OpenCV, reduced to a quarter": opencv,
        "simplejpeg + OpenCV": simple,
    }


def worker(args):
    """One peer's rounds, in a process of its own."""
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
    parser.add_argument("--bin", type=pathlib.Path, default=TARGET / "debug", help="where the binaries are")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        worker(args)
        return
    python = python_with_peers()
    names = ["Pillow, full decode", "Pillow, draft", "OpenCV, reduced to a quarter", "simplejpeg + OpenCV"]
    rates = {(name, threads): [] for name in [*names, "Tusk"] for threads in (1, 2)}
    with tempfile.TemporaryDirectory(prefix="tusk-decode-") as folder:
        outs = {name: pathlib.Path(folder) / f"{n}.raw" for n, name in enumerate([*names, "Tusk"])}
        for round_ in range(args.rounds):
            for (name, threads), seen in rates.items():
                if name == "Tusk":
                    command = [args.bin / "decode", args.folder, "--rounds", 1]
                else:
                    command = [python, __file__, args.folder, "--peer", name]
                command += ["--side", args.side, "--threads", threads, "--out", outs[name]]
                done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    sys.exit(f"decode: {name} failed: {done.stderr}")
                answer = json.loads(done.stdout.splitlines()[-1])
                seen.append(answer["images"] / answer["seconds"][0])
            print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr)
        distances = {name: difference(python, outs[name], outs[names[0]]) for name in outs}
    best = {threads: statistics.median(rates["simplejpeg + OpenCV", threads]) for threads in (1, 2)}
    print("| decoder | images/s, 1 thread | ratio | images/s, 2 threads | ratio | grey levels from Pillow's full decode |")
    print("|---|---|---|---|---|---|")
    for name in [*names, "Tusk"]:
        cells = []
        for threads in (1, 2):
            middle = statistics.median(rates[name, threads])
            cells += [f"{middle:.0f}", f"{middle / best[threads]:.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {distances[name]:.2f} |")


if __name__ == "__main__":
    main()
