#!/usr/bin/env python3
"""How long builds take, and how large what they make is.

    benches/build.py [--cold]

Incremental builds are `make build` after a source file of one crate was touched: that crate, all that depend on it and every test
program are made anew. `--cold` builds everything in an empty target folder first, on this machine with these
processors: a quarter of an hour on two cores. The crates' sources are there already (`cargo fetch`).
"""

import argparse
import os
import pathlib
import subprocess
import tempfile
import time

from cluster import HERE, TARGET

CRATES = ["client", "scheduler", "executor", "udfs", "core"]
BUILD = ["cargo", "build", "--quiet", "--workspace", "--all-targets"]


def seconds(target):
    started = time.perf_counter()
    subprocess.run(BUILD, check=True, cwd=HERE.parent, env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    return time.perf_counter() - started


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="build everything anew in an empty folder, too")
    args = parser.parse_args()
    subprocess.run(["cargo", "fetch", "--quiet"], check=True, cwd=HERE.parent)
    print("| build | seconds |")
    print("|---|---|")
    if args.cold:
        with tempfile.TemporaryDirectory(prefix="tusk-build-") as folder:
            print(f"| cold, all targets | {seconds(pathlib.Path(folder)):.0f} |", flush=True)
    print(f"| nothing changed | {seconds(TARGET):.1f} |", flush=True)
    for crate in CRATES:
        (HERE.parent / crate / "src" / "lib.rs").touch()
        print(f"| a source file of {crate}/ changed | {seconds(TARGET):.0f} |", flush=True)
    print(f"\nThe target folder holds {folder_bytes(TARGET) / 1e9:.1f} GB.")


if __name__ == "__main__":
    main()
