#!/usr/bin/env python3
"""Measures ingest and training of a table that is larger than the cache's memory, and of a part that fits.

    benches/large.py FOLDER [--images 200000] [--bin target/dist] [--keep DIR]

FOLDER has one folder per class, with images of about 224 pixels. The command writes them repeatedly as JPEG, each copy with its
own noise. It compares ingest with a plain copy of the same bytes, which reads every file and writes one file. One executor of two
threads, with a cache of 1 GB of memory and 8 GB of disk, then trains for three epochs on a tenth of the table, which fits in
memory, and on the whole table. The net is a linear one on pixels. It computes so little that an epoch shows the cost of the batch
loader. 200,000 images take half an hour and 10 GB of disk on two cores.
"""

import argparse
import contextlib
import multiprocessing
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from cluster import BIN, Cluster, peak_bytes

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
from environment import python_with

PACKAGES = ["numpy==2.2.6", "pillow==12.0.0"]
MEMORY_BYTES, DISK_BYTES = 10**9, 8 * 10**9
OPTIONS = "epochs = 3, early_stop = false, validation_fraction = 0"
# The net with the least work per image, so that the cost of the batch loader shows.
NET = "svm"
NET_OPTIONS = "features = 'pixels', augment = 'none', batch_size = 256"
THREADS, QUALITY, NOISE_STD = 2, 90, 4


def write_share(job):
    """Writes every `shares`th image, from `share` on."""
    import io

    import numpy
    from PIL import Image

    sources, folder, count, share, shares = job
    noise = numpy.random.default_rng(share)
    images = {}
    for n in range(share, count, shares):
        path = sources[n % len(sources)]
        if path not in images:
            images[path] = numpy.asarray(Image.open(path).convert("L"), numpy.int16)
        image = images[path]
        noisy = image + noise.normal(0, NOISE_STD, image.shape).astype(numpy.int16)
        data = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(numpy.uint8)).save(data, "JPEG", quality=QUALITY)
        (folder / path.parent.name / f"{path.stem}-{n}.jpeg").write_bytes(data.getvalue())


def write_images(source, folder, count):
    sources = sorted(path for path in source.rglob("*") if path.is_file())
    for name in {path.parent.name for path in sources}:
        (folder / name).mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(THREADS) as pool:
        pool.map(write_share, [(sources, folder, count, share, THREADS) for share in range(THREADS)])


def copy_seconds(folder, to):
    """Reads every file and writes all into one. Returns the seconds and the bytes."""
    started, size = time.perf_counter(), 0
    with open(to, "wb") as out:
        for path in sorted(folder.rglob("*.jpeg")):
            size += out.write(path.read_bytes())
    return time.perf_counter() - started, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    parser.add_argument("--keep", type=pathlib.Path, help="folder to keep the table in, or to reuse it from")
    parser.add_argument("--write-to", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write_to:
        write_images(args.folder.resolve(), args.write_to, args.images)
        return
    with contextlib.ExitStack() as stack:
        scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tusk-large-")))
        table = (args.keep or scratch).resolve() / "large.parquet"
        print("| measurement | value |")
        print("|---|---|")
        if not table.exists():
            table.parent.mkdir(parents=True, exist_ok=True)
            ingest(args, scratch / "jpegs", table)
        with Cluster(args.bin.resolve(), scratch, 1, THREADS, executor_flags()) as cluster:
            rates(cluster, table, args.images)


def executor_flags():
    return ["--cache-memory-bytes", MEMORY_BYTES, "--cache-disk-bytes", DISK_BYTES]


def ingest(args, jpegs, table):
    python = python_with("files", PACKAGES)
    command = [python, __file__, args.folder, "--images", args.images, "--write-to", jpegs]
    subprocess.run([str(word) for word in command], check=True)
    copied, size = copy_seconds(jpegs, jpegs.parent / "copy")
    (jpegs.parent / "copy").unlink()
    started = time.perf_counter()
    command = [args.bin / "tusk", "ingest", jpegs, "--out", table, "--no-shortcuts"]
    subprocess.run([str(word) for word in command], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    ingested = time.perf_counter() - started
    shutil.rmtree(jpegs)
    print(f"| {args.images:,} JPEGs | {size / 1e9:.2f} GB |")
    print(f"| copying them into one file | {copied:.1f} s, {size / copied / 1e6:.0f} MB/s |")
    print(f"| `tusk ingest` | {ingested:.1f} s, {size / ingested / 1e6:.0f} MB/s, {args.images / ingested:.0f} images/s |", flush=True)


def rates(cluster, table, images):
    external = f"CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{table}';"
    figures = {}
    for what, source in (("fits", f"(SELECT * FROM x LIMIT {images // 10})"), ("whole", "x")):
        _, *later = cluster.train(NET, f"{OPTIONS}, {NET_OPTIONS}", source, external)
        images, seconds = later[0]["images"], statistics.median(epoch["seconds"] for epoch in later)
        figures[what] = images / seconds
        (profile,) = [row["profile_seconds"] for row in cluster.sql("SHOW TRAINING bench;")]
        print(f"| {images:,} images: reading, decoding and scaling down | {profile:.0f} s, {images / profile:.0f} images/s |")
        print(f"| {images:,} images: an epoch after the first | {seconds:.1f} s, {figures[what]:.0f} images/s |", flush=True)
    peak, budget = peak_bytes(cluster.executors[0]), MEMORY_BYTES
    print(f"| time per image of the whole table, relative to the part that fits in memory | {figures['fits'] / figures['whole']:.2f} |")
    print(f"| executor, peak memory | {peak / 1e9:.2f} GB: {(peak - budget) / 1e9:+.2f} GB relative to the cache's memory |")


if __name__ == "__main__":
    main()
