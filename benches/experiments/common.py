"""The tables of X-rays and their splits, by patient and by acquisition, that the experiments share."""

import csv
import io
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(HERE.parent), str(HERE.parent / "peers")]
from cluster import BIN, TARGET
from environment import python_with
from results import add, find, read

FOLDER = TARGET / "experiments"
TABLE = FOLDER / "xrays.parquet"
GROUP_REGEX = r"(person\d+|(NORMAL2-)?IM-\d+)"
# First hexadecimal digits of the hash of a patient: about a fifth of the patients are only tested on.
TEST_DIGITS = "012"
IS_TEST = f"substr(md5(\"group\"), 1, 1) IN ({', '.join(repr(digit) for digit in TEST_DIGITS)})"
TRAINING = f"(SELECT * FROM xrays WHERE NOT {IS_TEST})"
TEST = f"(SELECT * FROM xrays WHERE {IS_TEST})"
NEAR, FAR = FOLDER / "near.parquet", FOLDER / "far.parquet"
PACKAGES = ["numpy==2.2.6", "pillow==12.0.0", "pyarrow==22.0.0"]


def tusk(*words):
    done = subprocess.run([BIN / "tusk", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"tusk {' '.join(map(str, words))} failed; see its message above")
    return done.stdout


def ingest(images):
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not TABLE.exists():
        tusk("ingest", images, "--out", TABLE, "--group-regex", GROUP_REGEX, "--no-shortcuts")


def split_by_acquisition():
    """Writes NEAR, to train on, and FAR, the eleven variants to test on, from TABLE."""
    if not FAR.exists():
        subprocess.run([python_with("acquisition", PACKAGES), HERE / "acquisition.py", TABLE, NEAR, FAR], check=True)


def on_variants(model):
    """Evaluates a model on FAR. Returns the rows by variant."""
    rows = sql(f"EVALUATE MODEL {model} ON far OPTIONS (by = 'variant')", tables={"far": FAR})
    return {row["variant"]: row for row in rows}


def sql(*statements, tables=()):
    """Runs the statements in one session, which has the table `xrays`, and returns the rows of the last one."""
    tables = {"xrays": TABLE, **dict(tables)}
    create = [f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{path}'" for name, path in tables.items()]
    text = ";\n".join([*create, *statements])
    return list(csv.DictReader(io.StringIO(tusk("sql", "--format", "csv", "--store", FOLDER / "store", "-c", text))))


def train_missing(path, fields, runs, train):
    """Trains the runs without a result in the CSV file, in their order, and appends each result at once."""
    for run in runs:
        if not find(read(path), run):
            print(f"{path.stem}: {run}", file=sys.stderr, flush=True)
            add(path, fields, train(run))


def trained(path, runs):
    """Returns the results of the runs that have one."""
    results = read(path)
    return [row for row in (find(results, run) for run in runs) if row]
