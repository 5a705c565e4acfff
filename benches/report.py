#!/usr/bin/env python3
"""Runs the comparisons and writes their output into docs/performance.md, with the command, the date and the machine.

    benches/report.py --images FOLDER --originals FOLDER [--only decode predict ...]

Each FOLDER has one folder per class. The images of --images have about 224 pixels; those of --originals have the size of the
camera. A section of the page is between `<!-- begin NAME -->` and `<!-- end NAME -->`. The command replaces only the sections of
--only, and no text outside of sections. All sections take hours on two cores.
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import subprocess
import sys

import build
from cluster import BIN, TARGET, stop

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
SECTIONS = {
    "build": "benches/build.py --cold",
    "decode": "benches/peers/decode.py ORIGINALS --rounds 9",
    "throughput": "benches/peers/throughput.py --rounds 2",
    "precision": "benches/precision.py TABLE --epochs 8",
    "endtoend": "benches/peers/endtoend.py IMAGES --rounds 2",
    "timetoauc": "benches/peers/time_to_auc.py IMAGES --seeds 1 2",
    "predict": "benches/peers/predict.py IMAGES --rounds 2",
    "startup": "benches/startup.py",
    "large": "benches/large.py IMAGES --keep KEPT",
    "scaling": "benches/scaling.py KEPT/large.parquet",
    "exchange": "benches/exchange.py --workers 4",
}
GROUP_REGEX = r"(person\d+|(NORMAL2-)?IM-\d+)"


# Processor instructions that determine the speed of a net, newest first.
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")


def machine():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    newest = next((word for word in INSTRUCTIONS if word in flags), "no AVX2")
    cards = sorted(path.read_text() for path in pathlib.Path("/proc/driver/nvidia/gpus").glob("*/information"))
    cards = [line.split(":")[1].strip() for card in cards for line in card.splitlines() if line.startswith("Model")]
    memory = next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return ", ".join([f"{os.cpu_count()} processors ({name}, {newest})", f"{int(memory.split()[1]) / 2**20:.0f} GiB", *cards])


def measured_on():
    """What determines the speed and the last bits of a result: the machine and the version of libtorch."""
    version = output([str(BIN / "tusk-executor"), "--version"])
    return f"{machine()}, {next(line for line in version.splitlines() if line.startswith('libtorch'))}"


def output(command):
    """Runs a command and returns its standard output. Its standard error is shown."""
    print(f"report: {' '.join(command)}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=HERE.parent)
    if done.returncode != 0:
        stop(f"{command[0]} failed; see its message above")
    return done.stdout.strip()


def put(name, text):
    """Replaces the section `name` of the page."""
    page = PAGE.read_text()
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    if begin not in page or end not in page:
        stop(f"{PAGE} has no section {name}; it needs the lines {begin.strip()} and {end}")
    before, rest = page.split(begin)
    PAGE.write_text(before + begin + text + "\n" + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--originals", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--keep", type=pathlib.Path, default=TARGET / "bench-data", help="folder of the generated tables")
    args = parser.parse_args()
    build.seconds(build.DIST)
    table = args.keep / "images.parquet"
    args.keep.mkdir(parents=True, exist_ok=True)
    places = {"IMAGES": args.images, "ORIGINALS": args.originals, "TABLE": table, "KEPT": args.keep}
    for name in (name for name in SECTIONS if name in args.only):
        if "TABLE" in SECTIONS[name] and not table.exists():
            ingest = [BIN / "tusk", "ingest", args.images, "--out", table, "--group-regex", GROUP_REGEX]
            ingest.append("--no-shortcuts")
            output([str(word) for word in ingest])
        command = re.sub("|".join(places), lambda found: str(places[found.group()]), SECTIONS[name]).split(" ")
        printed = output(command)
        date = datetime.date.today().isoformat()
        put(name, f"`{SECTIONS[name]}`, {date}, {machine()}:\n\n{printed}")
    version = output([str(BIN / "tusk-executor"), "--version"]).replace("\n", ", ")
    put("versions", f"{version}.")


if __name__ == "__main__":
    main()
