"""A scheduler that dies: what it was doing goes on when it is started again, without anyone asking."""

import time

import pytest

from cluster import create_model


# What the scheduler gives requests under way by default.
DRAIN_SECONDS = 30


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_killed_scheduler_resumes_its_runs_by_itself(cluster, undisturbed, epoch):
    run = cluster.start_run("m")
    if epoch:
        cluster.wait_epoch("m", epoch)
    cluster.wait_busy(cluster.executors[0])
    cluster.scheduler.kill()
    run.close()
    time.sleep(1)
    cluster.restart(cluster.scheduler)
    row = cluster.wait_status("m", "finished")
    assert row["epoch"] == row["epochs"] == 5
    assert cluster.weights_sha256("m") == undisturbed()


def test_a_client_of_a_killed_scheduler_reconnects_and_shows_all_epochs_once(cluster, undisturbed):
    client = cluster.tusk_sql(create_model("m"))
    cluster.wait_epoch("m", 2)
    cluster.scheduler.kill()
    time.sleep(1)
    cluster.restart(cluster.scheduler)
    assert client.popen.wait(90) == 0, client.log_tail()
    epochs = [line.split(",")[1] for line in client.log_text().splitlines() if line.startswith("m,")]
    assert epochs == ["1", "2", "3", "4", "5"], client.log_text()
    assert cluster.weights_sha256("m") == undisturbed()


def test_a_scheduler_that_stops_in_the_middle_of_a_run_resumes_it(cluster, undisturbed):
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    assert cluster.scheduler.stop(60) == 0
    run.close()
    cluster.restart(cluster.scheduler)
    cluster.wait_status("m", "finished")
    assert cluster.weights_sha256("m") == undisturbed()


def test_a_scheduler_that_is_asked_to_end_does_not_wait_for_those_who_watch_a_run(cluster, undisturbed):
    client = cluster.tusk_sql(create_model("m"))
    cluster.wait_epoch("m", 1)
    started = time.monotonic()
    assert cluster.scheduler.stop(60) == 0
    assert time.monotonic() - started < DRAIN_SECONDS / 2
    assert client.is_running(), client.log_tail()
    cluster.restart(cluster.scheduler)
    assert client.popen.wait(90) == 0, client.log_tail()
    epochs = [line.split(",")[1] for line in client.log_text().splitlines() if line.startswith("m,")]
    assert epochs == ["1", "2", "3", "4", "5"], client.log_text()
    assert cluster.weights_sha256("m") == undisturbed()


# Eight trials of which half stop after one, two and four of their eight epochs: 8 + 4 + 4 + 4 epochs.
SEARCH = {
    "epochs": "8",
    "image_size": "32",
    "learning_rate": "range(0.0003, 0.01)",
    "batch_size": "candidates(8, 16)",
    "trials": "8",
    "search": "'halving'",
    "objective": "'loss'",
}


def test_a_search_whose_scheduler_is_killed_goes_on_and_finds_the_same(cluster, undisturbed):
    run = cluster.start_run("m", **SEARCH)
    cluster.wait_epoch("m", 10)
    cluster.scheduler.kill()
    run.close()
    cluster.restart(cluster.scheduler)
    assert cluster.wait_status("m", "finished")["epoch"] == 20
    trials = cluster.rows("SHOW TRIALS m")
    assert sorted(trial["epochs"] for trial in trials) == [1, 1, 1, 1, 2, 2, 4, 8]
    assert [trial["status"] for trial in trials].count("finished") == 1
    assert cluster.weights_sha256("m") == undisturbed(**SEARCH)
    assert not list((cluster.store / "runs").glob("m.*")), "runs of trials are left behind"


def test_a_cancelled_run_is_not_resumed(cluster):
    run = cluster.start_run("m", epochs=50)
    cluster.wait_epoch("m", 1)
    cluster.rows("CANCEL TRAINING m")
    run.close()
    cluster.scheduler.kill()
    cluster.restart(cluster.scheduler)
    cluster.wait_ready()
    time.sleep(2)
    row = cluster.training("m")
    assert (row["status"], row["active"]) == ("cancelled", False)
