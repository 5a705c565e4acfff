#!/usr/bin/env python3
"""Writes features/Cargo.toml: what makes every selection of crates ask the dependencies for the same features.

    scripts/features.py            writes it
    scripts/features.py --check    fails where it is not up to date

Cargo compiles a dependency once for each set of features. Without this crate `cargo test -p tusk-core` would compile half of
DataFusion again, with fewer features than `make build`. It depends on each package whose features differ between the
whole workspace and one of its crates, and asks for those of the whole workspace, tests included.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "features" / "Cargo.toml"
NAME = "tusk-features"
HEAD = """# Written by scripts/features.py, which says what it is for. Run it again when dependencies change.
[package]
name = "tusk-features"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
repository.workspace = true
description = "No code: the features of dependencies that any crate of Tusk needs"
publish = false

[lib]
doc = false
test = false
bench = false

[dependencies]
"""


def cargo(*words):
    return subprocess.run(["cargo", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def packages(*selection):
    """The features of each registry package of a selection: {(name, version): features}."""
    found = collections.defaultdict(set)
    for line in cargo("tree", *selection, "--prefix=none", "--format={p}|{f}").splitlines():
        if not line:
            continue
        package, _, features = line.removesuffix(" (*)").partition("|")
        name, version, *rest = package.split(" ")
        # Our own have a path behind the version. Macros run in the compiler, where the features of others do not matter.
        if not rest:
            found[name, version.removeprefix("v")].update(filter(None, features.split(",")))
    return found


def manifest():
    members = json.loads(cargo("metadata", "--format-version=1", "--no-deps"))["packages"]
    whole = packages("--workspace", "--edges=normal,dev")
    differ = set()
    for member in members:
        if member["name"] != NAME:
            for edges in ("normal", "normal,dev"):
                one = packages("--package", member["name"], f"--edges={edges}")
                differ |= {key for key, features in one.items() if features != whole[key]}
    differ |= {key for key, features in packages("--workspace", "--edges=normal").items() if features != whole[key]}
    lines = []
    for name, version in sorted(differ):
        features = ", ".join(f'"{feature}"' for feature in sorted(whole[name, version] - {"default"}))
        key = f"{name}_{version.split('+')[0].replace('.', '_')}"
        defaults = "true" if "default" in whole[name, version] else "false"
        lines.append(
            f'{key} = {{ package = "{name}", version = "{version.split("+")[0]}", default-features = {defaults}, '
            f"features = [{features}] }}\n"
        )
    return "".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it is out of date")
    args = parser.parse_args()
    before = MANIFEST.read_text() if MANIFEST.exists() else ""
    written = HEAD
    if not args.check:
        # What it asked for before must not hide a difference.
        MANIFEST.write_text(HEAD)
    for _ in range(5):
        more = manifest()
        if args.check:
            if more:
                sys.exit("features: features/Cargo.toml is out of date: run scripts/features.py and commit what it wrote")
            return
        if not more:
            break
        # A package that it depends on brings packages of its own: until nothing differs.
        known = set(written.splitlines())
        written += "".join(line + "\n" for line in more.splitlines() if line not in known)
        MANIFEST.write_text(written)
    head, lines = written.split("[dependencies]\n")
    newest = {line.split(" = ")[0]: line for line in lines.splitlines()}
    MANIFEST.write_text(head + "[dependencies]\n" + "".join(newest[key] + "\n" for key in sorted(newest)))
    print("features: features/Cargo.toml " + ("is unchanged" if MANIFEST.read_text() == before else "was updated"))


if __name__ == "__main__":
    main()
