"""`tusk sql` without a scheduler: queries and training in one process."""

import json
import signal
import subprocess

import psutil
import pytest

from cluster import BIN, create_model, wait_for

# A run that is cancelled ends with the batch that is being computed.
CANCEL_SECONDS = 10


@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_the_embedded_engine_opens_no_port_and_ctrl_c_cancels_its_run(tmp_path, data, mode):
    record = tmp_path / "store" / "runs" / "m" / "run.json"
    table = f"CREATE EXTERNAL TABLE xrays STORED AS PARQUET LOCATION '{data / 'xrays.parquet'}'"
    run = create_model("m", epochs=500, mode=f"'{mode}'", averages_per_epoch=None)
    command = [BIN / "tusk", "sql", "--store", tmp_path / "store", "--format", "csv", "-c", f"{table}; {run}"]
    log = tmp_path / "log"
    with open(log, "wb") as output:
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for("an epoch", lambda: record.exists() and json.loads(record.read_text())["epochs"], 90)
        assert psutil.Process(client.pid).net_connections(kind="inet") == []
        client.send_signal(signal.SIGINT)
        assert client.wait(CANCEL_SECONDS) != 0
    finally:
        client.kill()
        client.wait()
    assert json.loads(record.read_text())["status"] == "cancelled", log.read_text(errors="replace")
    assert "training of 'm' was cancelled after" in log.read_text(errors="replace")
