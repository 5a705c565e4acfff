#!/usr/bin/env python3
"""How long builds take, and how large what they make is.

    benches/build.py [CRATE ...]

Where nothing is built yet, the first build is a cold one, with this machine's processors; the crates' sources are there
already (`cargo fetch`). CARGO_TARGET_DIR=/an/empty/folder asks for one. Incremental builds are `make build` after a source
file of one crate was touched, not changed: that crate and all that depend on it are checked against rustc's incremental cache, and
every program and test is linked again. That is the least that a change costs.
"""

import argparse
import os
import subprocess
import time

from cluster import HERE, TARGET

CRATES = ["client", "scheduler", "executor", "udfs", "core"]
BINARIES = ["tusk", "tusk-scheduler", "tusk-executor"]
BUILD = ["cargo", "build", "--workspace", "--all-targets"]


def seconds():
    started = time.perf_counter()
    subprocess.run(BUILD, check=True, cwd=HERE.parent, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    return time.perf_counter() - started


def folder_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crates", nargs="*", default=CRATES, help="whose changes are measured (default: all)")
    args = parser.parse_args()
    subprocess.run(["cargo", "fetch", "--quiet"], check=True, cwd=HERE.parent)
    print("| build | seconds |")
    print("|---|---|")
    if not (TARGET / "debug").exists():
        print(f"| cold, all targets | {seconds():.0f} |", flush=True)
    print(f"| nothing changed | {seconds():.1f} |", flush=True)
    for crate in args.crates:
        (HERE.parent / crate / "src" / "lib.rs").touch()
        print(f"| a source file of {crate}/ touched | {seconds():.0f} |", flush=True)
    sizes = [f"`{name}` {(TARGET / 'debug' / name).stat().st_size / 1e6:.0f} MB" for name in BINARIES]
    print(f"\nBinaries: {', '.join(sizes)}. The target folder holds {folder_bytes(TARGET) / 1e9:.1f} GB.")


if __name__ == "__main__":
    main()
