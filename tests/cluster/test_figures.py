"""What Prometheus reads, and what the dashboard shows of it."""

import json
import re

from cluster import ROOT, create_model

DASHBOARD = ROOT / "docker" / "grafana" / "tusk.json"


def test_the_dashboard_shows_figures_that_there_are(shared):
    # Some of them are there only once something of their kind has happened.
    shared.rows(create_model("figures", epochs=2, mode="'asynchronous'", frequency="'batch'"))
    there = set()
    for process in (shared.scheduler, *shared.executors):
        there |= {name.split("{")[0] for name in process.metrics()}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in names(target["expr"])}
    assert len(asked) > 20
    assert asked <= there, f"nobody tells {sorted(asked - there)}"


def names(expression):
    return re.findall(r"\b(?:tusk|process)_[a-z_]+", expression)


def test_images_are_counted_alike_on_both_sides(cluster):
    rows = cluster.rows(create_model("m", epochs=3))
    trained = sum(row["images"] for row in rows)
    assert cluster.scheduler.metric("tusk_run_images_trained_total") == trained
    assert sum(executor.metric("tusk_executor_images_trained_total") for executor in cluster.executors) == trained
    decoded = sum(executor.metric("tusk_executor_images_decoded_total") for executor in cluster.executors)
    assert decoded == 400, "each image is decoded once"
    assert cluster.scheduler.metric("tusk_run_epochs_total") == 3
