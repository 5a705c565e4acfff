"""The results of long experiments in a CSV file. A run with a result is not repeated."""

import csv


def read(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add(path, fields, row):
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def find(results, run):
    """Returns the row that has all keys of the run, or None."""
    return next((row for row in results if all(row[key] == str(value) for key, value in run.items())), None)


def environments(results):
    """Returns the environments of the results as text, and a mark per result.

    Each result has a field `environment`. The marks are empty if all results come from one environment.
    """
    names = list(dict.fromkeys(row["environment"] for row in results))
    marks = {name: f" ({number})" if len(names) > 1 else "" for number, name in enumerate(names, 1)}
    return "; ".join(f"{name}{mark}" for name, mark in marks.items()), [marks[row["environment"]] for row in results]
