"""Workers that exchange weights with the scheduler and wait for nobody: what is killed goes on where it was."""

import time

import pytest

MODES = [("asynchronous", "batch"), ("hogwild", "epoch")]

# Longer than the other tests' runs: there is no undisturbed model to compare with, so each row is counted.
EPOCHS = 8


def options(mode, frequency):
    return {"mode": f"'{mode}'", "frequency": f"'{frequency}'", "epochs": EPOCHS, "early_stop": "false"}


def assert_whole(cluster, model):
    """Every epoch is there once, and used each row once, whatever was killed."""
    row = cluster.wait_status(model, "finished")
    assert row["epoch"] == row["epochs"] == EPOCHS
    manifest = cluster.manifest(model)
    rows = sum(manifest["data"]["train_rows"].values())
    assert [epoch["epoch"] for epoch in manifest["epochs"]] == list(range(1, EPOCHS + 1))
    assert [epoch["images"] for epoch in manifest["epochs"]] == [rows] * EPOCHS
    assert row["staleness"].count("worker") == row["workers"] == 2
    return manifest


@pytest.mark.parametrize("mode, frequency", MODES)
def test_an_executor_killed_during_an_exchange_goes_on_where_it_was(cluster, mode, frequency):
    run = cluster.start_run("m", **options(mode, frequency))
    cluster.wait_epoch("m", 1)
    executor = cluster.executors[0]
    cluster.wait_busy(executor)
    executor.kill()
    time.sleep(0.5)
    cluster.restart(executor)
    rows = list(run.epochs())
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    run.close()
    assert_whole(cluster, "m")


@pytest.mark.parametrize("mode, frequency", MODES)
def test_a_scheduler_killed_during_an_exchange_resumes_it_from_its_checkpoint(cluster, mode, frequency):
    run = cluster.start_run("m", **options(mode, frequency))
    cluster.wait_epoch("m", 2)
    cluster.scheduler.kill()
    run.close()
    time.sleep(1)
    cluster.restart(cluster.scheduler)
    assert_whole(cluster, "m")


def test_epochs_of_an_exchange_are_validated_while_its_workers_train(cluster):
    run = cluster.start_run("m", **options("asynchronous", "epoch"))
    first = next(iter(run.epochs()))
    assert first["epoch"] == 1 and first["val_roc_auc"] is not None
    assert cluster.training("m")["status"] == "running", "the first row came when all was over"
    cluster.wait_status("m", "finished")
    run.close()
    assert cluster.scheduler.metric("tusk_run_pushes_total") >= 2 * EPOCHS
