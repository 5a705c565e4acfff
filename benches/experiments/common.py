"""The tables of X-rays and their splits, by patient and by acquisition, that the experiments share."""

import csv
import io
import pathlib
import subprocess
import sys
import time

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


def fit(model, options, seed, table):
    """Trains `cnn` by patient on a table, with NEAR as `near`. Returns the seconds it took."""
    given = ", ".join(filter(None, [options, f"seed = {seed}", "on_shortcut = 'ignore', \"group\" = 'group'"]))
    started = time.monotonic()
    sql(f"CREATE OR REPLACE MODEL {model} USING cnn OPTIONS ({given}) TRAIN ON {table}", tables={"near": NEAR})
    return time.monotonic() - started


def on_variants(model):
    """Evaluates a model on FAR. Returns the rows by variant, each with the threshold that had been the best for it."""
    found = sql(f"EVALUATE MODEL {model} ON far OPTIONS (by = 'variant')", tables={"far": FAR})
    scores = sql(f"SELECT variant, label, predict_proba('{model}', image) AS score FROM far", tables={"far": FAR})
    of = {}
    for row in scores:
        of.setdefault(row["variant"], []).append((float(row["score"]), row["label"] == "PNEUMONIA"))
    return {row["variant"]: row | {"best_threshold": f"{best_threshold(of[row['variant']]):.4f}"} for row in found}


def best_threshold(scores):
    """The threshold with the best balanced accuracy. `scores` are pairs of a score and whether the row is positive."""
    positives = sum(is_positive for _, is_positive in scores)
    negatives = len(scores) - positives
    ordered = sorted(scores)
    # At the lowest score, all rows are called positive.
    recall, specificity = 1.0, 0.0
    best, at = 0.5, ordered[0][0]
    for (score, is_positive), (following, _) in zip(ordered, ordered[1:]):
        recall -= is_positive / positives
        specificity += (not is_positive) / negatives
        if score < following and (recall + specificity) / 2 > best:
            best, at = (recall + specificity) / 2, (score + following) / 2
    return at


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
