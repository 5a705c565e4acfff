"""Clients that go away, and several at once."""

import concurrent.futures
import time

from cluster import create_model, wait_for


def test_the_run_of_a_killed_client_goes_on(cluster, undisturbed):
    client = cluster.tusk_sql(create_model("m"))
    cluster.wait_epoch("m", 1)
    client.kill()
    row = cluster.training("m")
    assert (row["status"], row["active"]) == ("running", True)
    cluster.wait_status("m", "finished")
    assert cluster.weights_sha256("m") == undisturbed()


def test_the_run_of_a_closed_connection_goes_on(cluster, undisturbed):
    run = cluster.start_run("m")
    run.close()
    cluster.wait_status("m", "finished")
    assert cluster.weights_sha256("m") == undisturbed()


def test_any_client_cancels_a_run_whose_client_is_gone(cluster, undisturbed):
    client = cluster.tusk_sql(create_model("m", epochs=5))
    cluster.wait_epoch("m", 2)
    client.kill()
    assert cluster.value("CANCEL TRAINING m") == "training of 'm' is cancelled"
    row = cluster.wait_status("m", "cancelled")
    assert 2 <= row["epoch"] < 5
    assert cluster.rows("SHOW MODELS") == []
    # And any client resumes it.
    cluster.rows(create_model("m", resume="true"))
    assert cluster.weights_sha256("m") == undisturbed()


def test_two_runs_at_once_and_queries_beside_them_all_finish(cluster, undisturbed):
    count = "SELECT count(*) AS n FROM xrays"
    cluster.value(count)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(cluster.rows, create_model(name)) for name in ("one", "two")]
        for name in ("one", "two"):
            cluster.wait_epoch(name, 1)
        seconds = []
        while not all(run.done() for run in runs):
            started = time.monotonic()
            assert cluster.value(count) == 400
            seconds.append(time.monotonic() - started)
            time.sleep(0.1)
        assert [len(run.result()) for run in runs] == [5, 5]
    assert cluster.weights_sha256("one") == cluster.weights_sha256("two") == undisturbed()
    assert len(seconds) >= 3, "the runs were over before a query was made"
    assert sorted(seconds)[len(seconds) // 2] < 2 and max(seconds) < 5, f"training starves queries: {seconds}"


def test_epochs_are_shown_as_they_finish_and_not_at_the_end(cluster):
    client = cluster.tusk_sql(create_model("m"))
    wait_for("the first row", lambda: "\nm,1," in "\n" + client.log_text(), 60)
    assert client.is_running() and "\nm,5," not in client.log_text()
    assert client.popen.wait(60) == 0


def test_every_client_sees_the_tables_of_the_server_and_its_own(cluster):
    with cluster.connect() as mine, mine.cursor() as cursor:
        location = cluster.data / "xrays_test.parquet"
        cursor.execute(f"CREATE EXTERNAL TABLE own STORED AS PARQUET LOCATION '{location}'")
        cursor.fetchall()
        cursor.execute("SELECT count(*) FROM own")
        assert cursor.fetchall() == [(80,)]
        names = {row["table_name"] for row in cluster.rows("SHOW TABLES")}
        assert {"xrays", "xrays_test"} <= names and "own" not in names
