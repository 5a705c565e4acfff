"""Executors that die, freeze or lose the network: the run ends, with the weights of an undisturbed one."""

import signal
import time

import pytest

from cluster import DEAD_AFTER_SECONDS, create_model, wait_for


def finish(cluster, run, epochs=5):
    """Takes the rest of a run's rows, and checks that every epoch came once."""
    rows = list(run.epochs())
    assert [row["epoch"] for row in rows] == list(range(1, epochs + 1))
    assert len({row["images"] for row in rows}) == 1, "an epoch missed images"
    run.close()
    return rows


def test_an_executor_killed_before_its_task_changes_nothing(cluster, undisturbed):
    cluster.executors[0].kill()
    # The scheduler still believes that it lives: it will be given a task.
    run = cluster.start_run("m")
    time.sleep(1)
    cluster.restart(cluster.executors[0])
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()


def test_an_executor_killed_during_its_task_twice_in_a_run_changes_nothing(cluster, undisturbed):
    run = cluster.start_run("m")
    for victim, epoch in [(0, 1), (1, 3)]:
        cluster.wait_epoch("m", epoch)
        executor = cluster.executors[victim]
        cluster.wait_busy(executor)
        executor.kill()
        time.sleep(0.5)
        cluster.restart(executor)
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()


def test_an_executor_killed_for_good_leaves_its_work_to_the_others(cluster, undisturbed):
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 2)
    cluster.executors[1].kill()
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()
    wait_for("the dead one to be forgotten", lambda: cluster.scheduler.metric("tusk_scheduler_executors") == 1, 20)


def test_an_executor_killed_after_its_task_loses_its_answer_and_changes_nothing(cluster, undisturbed):
    first, second = cluster.executors
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    # The second is held in the middle of its task until the first has done its own and is gone, its answer with it.
    cluster.wait_busy(second)
    second.signal(signal.SIGSTOP)
    wait_for("the first executor to be done", lambda: first.metric("tusk_executor_devices_busy") == 0, 10)
    first.kill()
    second.signal(signal.SIGCONT)
    cluster.restart(first)
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()


def test_when_all_executors_are_lost_and_one_comes_back_the_run_goes_on(cluster, undisturbed):
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 2)
    for executor in cluster.executors:
        executor.kill()
    time.sleep(DEAD_AFTER_SECONDS)
    assert cluster.training("m")["status"] == "running"
    cluster.restart(cluster.executors[0])
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()


def test_an_executor_frozen_past_its_heartbeat_and_back_changes_nothing(cluster, undisturbed):
    frozen = cluster.executors[0]
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    cluster.wait_busy(frozen)
    frozen.signal(signal.SIGSTOP)
    time.sleep(DEAD_AFTER_SECONDS + 4)
    frozen.signal(signal.SIGCONT)
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()
    assert frozen.is_running()
    wait_for("the frozen executor to be back", lambda: cluster.scheduler.metric("tusk_scheduler_executors") == 2)
    # Back is more than being listed: it works again.
    cluster.rows(create_model("again", epochs=1))


def test_after_the_first_epoch_nothing_is_decoded_while_all_executors_live(cluster):
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    decoded = [executor.metric("tusk_executor_images_decoded_total") for executor in cluster.executors]
    finish(cluster, run)
    assert [executor.metric("tusk_executor_images_decoded_total") for executor in cluster.executors] == decoded
    assert sum(decoded) > 0
    assert cluster.scheduler.metric('tusk_run_epoch_images_decoded{model="m"}') == 0


def test_sigterm_drains_an_executor_and_the_run_goes_on(cluster, undisturbed):
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    cluster.wait_busy(cluster.executors[0])
    assert cluster.executors[0].stop(60) == 0
    finish(cluster, run)
    assert cluster.weights_sha256("m") == undisturbed()


@pytest.mark.parametrize("process", ["scheduler", "executor"])
def test_idle_processes_end_at_sigterm_at_once(cluster, process):
    chosen = cluster.scheduler if process == "scheduler" else cluster.executors[0]
    started = time.monotonic()
    assert chosen.stop(30) == 0
    assert time.monotonic() - started < 15
