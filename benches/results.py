"""Results of long runs in a CSV file: what is there already is not run again."""

import csv


def read(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add(path, fields, row):
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def find(results, run):
    """The result of a run: the row that has all its keys; None where there is none yet."""
    return next((row for row in results if all(row[key] == str(value) for key, value in run.items())), None)
