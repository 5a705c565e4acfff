#!/usr/bin/env python3
"""Measures how long builds take and how large their output is.

    benches/build.py [--cold]

The builds use the profile of everyday work. --cold also starts in an empty target folder and measures the time until the first
epoch of `make demo`. The sources of all crates (`cargo fetch`) and libtorch must be there. Then the command adds a public item
to one crate after another, which recompiles every crate that depends on it, and removes the items at the end.
"""

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from cluster import HERE, TARGET, stop

ROOT = HERE.parent
PROGRAMS = ["-p", "tusk", "-p", "tusk-scheduler", "-p", "tusk-executor", "--bins"]
TUSK = ["cargo", "build", "-p", "tusk", "--bin", "tusk"]
DIST = ["cargo", "build", "--profile", "dist", *PROGRAMS, "-p", "tusk-benches"]
CRATES = ["core", "udfs", "executor", "scheduler", "client"]
PACKAGES = {"client": "tusk"}
ADDED = "\n/// Added by benches/build.py.\npub const ADDED_BY_BUILD: u64 = {};\n"


def seconds(command, target=TARGET):
    """How long a command of cargo takes."""
    started = time.perf_counter()
    env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    # What it prints is not part of the table.
    subprocess.run(command, check=True, cwd=ROOT, env=env, stdout=sys.stderr)
    return time.perf_counter() - started


def first_epoch(tusk):
    """How long `tusk demo` takes to its first epoch."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        demo = subprocess.Popen([tusk, "demo"], cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            for line in demo.stdout:
                cells = [cell.strip() for cell in line.split("|")]
                if cells[1:3] == ["demo", "1"]:
                    return time.perf_counter() - started
        finally:
            demo.kill()
            demo.wait()
    stop("`tusk demo` ended before its first epoch; its message is above")


@contextlib.contextmanager
def changed(crate):
    """Adds a public item to the crate, and removes it at the end."""
    source = ROOT / crate / "src" / "lib.rs"
    text = source.read_text()
    source.write_text(text + ADDED.format(time.time_ns()))
    try:
        yield
    finally:
        source.write_text(text)


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def cold():
    with tempfile.TemporaryDirectory(dir=TARGET.parent) as folder:
        target = pathlib.Path(folder)
        build = seconds(TUSK, target)
        epoch = first_epoch(target / "debug" / "tusk")
        print(f"| from an empty target folder to the first epoch of `make demo` | {build + epoch:.0f} |")
        print(f"| compiling, of that | {build:.0f} |", flush=True)
        print(f"| the target folder after that, in GB | {folder_bytes(target) / 1e9:.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="also measure a build from scratch")
    parser.add_argument("--crates", nargs="+", default=CRATES, help="crates to change (default: all)")
    args = parser.parse_args()
    subprocess.run(["cargo", "fetch", "--quiet"], check=True, cwd=ROOT)
    print("| build | seconds |")
    print("|---|---|")
    if args.cold:
        cold()
    seconds(TUSK)
    print(f"| nothing changed | {seconds(TUSK):.1f} |", flush=True)
    for crate in args.crates:
        package = PACKAGES.get(crate, f"tusk-{crate}")
        unit_tests = ["cargo", "test", "--quiet", "-p", package, "--lib"]
        seconds([*unit_tests, "--no-run"])
        with changed(crate):
            print(f"| a change of {crate}/, until `tusk` is built | {seconds(TUSK):.0f} |", flush=True)
            print(f"| the same, until its unit tests have run | {seconds(unit_tests):.0f} |", flush=True)


if __name__ == "__main__":
    main()
