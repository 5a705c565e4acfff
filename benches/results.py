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
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def find(results, run):
    """The result of a run: the row that has all its keys; None where there is none yet."""
    return next((row for row in results if all(row[key] == str(value) for key, value in run.items())), None)


def machines(results):
    """The machines that results (with a field `machine`) come from, in words, and for each result a mark that says which,
    where there are several."""
    names = list(dict.fromkeys(row["machine"] for row in results))
    marks = {name: f" ({number})" if len(names) > 1 else "" for number, name in enumerate(names, 1)}
    return "; ".join(f"{name}{mark}" for name, mark in marks.items()), [marks[row["machine"]] for row in results]
