"""A model store that is full or away for a while: retried, then a clear failure; the last checkpoint is whole."""

import hashlib
import json
import os
import subprocess
import sys
import urllib.request

import pytest

from cluster import REFUSED, Proxy, create_model, free_ports, http, wait_for

MOTO = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
threading.Event().wait()
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tusk", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    """Takes all the space that is left, in a file to be removed."""
    ballast = folder / "ballast"
    try:
        with open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
    except OSError:
        return ballast


def noticed(cluster):
    """Whether some process has met the store's failure and tries again."""
    return any("; retrying" in process.log_text() for process in (cluster.scheduler, *cluster.executors))


def assert_last_checkpoint_is_whole(cluster, model):
    """What the run's record names is there, and a resumed run goes on from it."""
    record = json.loads((cluster.store / "runs" / model / "run.json").read_text())
    assert record["last"] is not None
    checkpoint = (cluster.store / record["last"]["path"]).read_bytes()
    length = int.from_bytes(checkpoint[:8], "little")
    header = json.loads(checkpoint[8 : 8 + length])
    end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    assert len(checkpoint) == 8 + length + end


def test_a_full_store_that_is_emptied_again_changes_nothing(new_cluster, small_disk, undisturbed):
    cluster = new_cluster(store=str(small_disk / "store"))
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    ballast = fill(small_disk)
    wait_for("a write to fail", lambda: noticed(cluster), 60)
    ballast.unlink()
    assert [row["epoch"] for row in run.epochs()] == [1, 2, 3, 4, 5]
    assert cluster.weights_sha256("m") == undisturbed()


@pytest.mark.timeout(240)
def test_a_store_that_stays_full_fails_the_run_clearly_and_keeps_the_checkpoint(new_cluster, small_disk, undisturbed):
    cluster = new_cluster(store=str(small_disk / "store"))
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    ballast = fill(small_disk)
    with pytest.raises(REFUSED) as failure:
        list(run.epochs())
    assert "No space left" in str(failure.value) or "full" in str(failure.value), failure.value
    assert_last_checkpoint_is_whole(cluster, "m")
    ballast.unlink()
    cluster.rows(create_model("m", resume="true"))
    assert cluster.weights_sha256("m") == undisturbed()


class S3:
    """An S3 server that models can be kept on, behind a proxy that can be cut."""

    def __init__(self, folder):
        (port,) = free_ports(1)
        self.log = open(folder / "s3.log", "wb")
        self.process = subprocess.Popen([sys.executable, "-c", MOTO, str(port)], stdout=self.log, stderr=self.log)
        wait_for("the S3 server", lambda: http("127.0.0.1", port, "/moto-api/")[0] == 200, 60)
        self.url = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/models", method="PUT"))
        self.proxy = Proxy(port)
        self.env = {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-log-shows",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.proxy.port}",
        }

    def put(self, path, data):
        headers = {"Authorization": "AWS test:test", "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(f"{self.url}/models/{path}", data, headers, method="PUT")
        urllib.request.urlopen(request).close()

    def get(self, path):
        # Who sends no credentials at all sees public objects only; these are not looked at.
        request = urllib.request.Request(f"{self.url}/models/{path}", headers={"Authorization": "AWS test:test"})
        with urllib.request.urlopen(request) as response:
            return response.read()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def s3(tmp_path):
    server = S3(tmp_path)
    yield server
    server.close()


def test_an_s3_store_that_is_away_for_a_while_changes_nothing(new_cluster, s3, undisturbed):
    cluster = new_cluster(store="s3://models/tusk", env=s3.env)
    run = cluster.start_run("m")
    cluster.wait_epoch("m", 1)
    s3.proxy.cut()
    wait_for("the outage to be noticed", lambda: noticed(cluster), 60)
    s3.proxy.mend()
    assert [row["epoch"] for row in run.epochs()] == [1, 2, 3, 4, 5]
    manifest = json.loads(s3.get("tusk/models/m/manifest.json"))
    weights = s3.get(f"tusk/{manifest['weights']['path']}")
    assert hashlib.sha256(weights).hexdigest() == undisturbed()
    predicted = cluster.rows("SELECT predict('m', image) AS p, count(*) AS n FROM xrays_test GROUP BY 1")
    assert sum(row["n"] for row in predicted) == 80
    for process in [cluster.scheduler, *cluster.executors]:
        assert "a-secret-that-no-log-shows" not in process.log_text()


def test_a_table_on_s3_is_read_by_scheduler_and_executors(new_cluster, s3, undisturbed):
    cluster = new_cluster(env=s3.env)
    s3.put("lake/xrays.parquet", (cluster.data / "xrays.parquet").read_bytes())
    with cluster.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTERNAL TABLE lake STORED AS PARQUET LOCATION 's3://models/lake/'")
        cursor.fetchall()
        cursor.execute(create_model("m", on="lake"))
        assert len(cursor.fetchall()) == 5
        cursor.execute("SELECT count(*) FROM lake WHERE predict('m', image) IS NOT NULL")
        assert cursor.fetchone() == (400,)
        with pytest.raises(REFUSED) as refusal:
            cursor.execute("CREATE EXTERNAL TABLE none STORED AS PARQUET LOCATION 's3://no-such-bucket/x/'")
            cursor.fetchall()
    assert "no-such-bucket" in str(refusal.value) and s3.env["AWS_SECRET_ACCESS_KEY"] not in str(refusal.value)
    assert cluster.weights_sha256("m") == undisturbed()


def test_weights_on_s3_are_those_of_the_file(new_cluster, s3):
    cluster = new_cluster(executors=1, env=s3.env)
    options = {"image_size": 32, "epochs": 1, "workers": 1, "averages_per_epoch": None}
    cluster.rows(create_model("first", **options))
    file = cluster.store / cluster.manifest("first")["weights"]["path"]
    s3.put("weights/first.safetensors", file.read_bytes())
    for name, location in [("local", file), ("remote", "s3://models/weights/first.safetensors")]:
        cluster.rows(create_model(name, weights=f"'{location}'", **options))
    assert cluster.weights_sha256("remote") == cluster.weights_sha256("local") != cluster.weights_sha256("first")
    with pytest.raises(REFUSED) as refusal:
        cluster.rows(create_model("none", weights="'s3://models/weights/none.safetensors'", **options))
    assert "weights = 's3://models/weights/none.safetensors' cannot be read" in str(refusal.value)
    assert s3.env["AWS_SECRET_ACCESS_KEY"] not in str(refusal.value)
