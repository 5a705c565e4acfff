"""Trials of a search: what they share, and that they run side by side."""

import datetime
import itertools
import json

from cluster import create_model, wait_for

GRID = {"learning_rate": "candidates(0.001, 0.003)", "search": "'grid'"}


def statuses(cluster):
    return [trial["status"] for trial in cluster.rows("SHOW TRIALS m")]


def test_trials_that_see_the_same_share_the_decoded_images(cluster):
    cluster.rows(create_model("m", **GRID | {"image_size": "candidates(32, 64)", "epochs": 1}))
    assert statuses(cluster) == ["finished"] * 4
    decoded = sum(executor.metric("tusk_executor_images_decoded_total") for executor in cluster.executors)
    assert decoded == 2 * 400, "each image is decoded once per size"


def trained(executor):
    """The tasks that trained on an executor, by its log: the run of each, its start and its end."""
    starts = {}
    for line in executor.log_text().splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("phase") == "train":
            at = datetime.datetime.fromisoformat(entry["timestamp"])
            if entry.get("message") == "task starts":
                starts[entry["run"]] = at
            elif entry.get("message") == "task ends":
                yield entry["run"], starts.pop(entry["run"]), at


def test_parallel_trials_train_at_the_same_time_on_two_executors(new_cluster):
    cluster = new_cluster(executor_flags=["--log-format=json"])
    run = cluster.start_run("m", **GRID | {"parallel_trials": 2, "workers": 1, "averages_per_epoch": None})
    wait_for("both trials to run", lambda: statuses(cluster) == ["running", "running"], 30)
    list(run.epochs())
    run.close()
    assert statuses(cluster) == ["finished", "finished"]
    first, second = (list(trained(executor)) for executor in cluster.executors)
    # Each trial has one worker: tasks that overlap are of two trials.
    both = [
        (one, other)
        for (one, began, ended), (other, other_began, other_ended) in itertools.product(first, second)
        if one != other and began < other_ended and other_began < ended
    ]
    assert both, f"no task of one trial trained while one of the other did: {first} {second}"
