"""The cluster of containers: made, started, trained on, and taken down, with the commands that a person would use."""

import json
import os
import shutil
import subprocess

import adbc_driver_flightsql.dbapi
import pytest

from cluster import ROOT, create_model, free_ports, http, wait_for

MIB = 1 << 20


def run(*command, **options):
    """A command's output; its errors are shown when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def engine_is_there():
    return shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.skipif(not engine_is_there(), reason="no Docker engine answers here"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def containers():
    """A cluster of containers of its own name, on ports of its own."""
    port, notebook = free_ports(2)
    env = os.environ | {
        "TUSK_PROJECT": f"tusk-test-{os.getpid()}",
        "TUSK_PORT": str(port),
        "TUSK_NOTEBOOK_PORT": str(notebook),
        "TUSK_NOTEBOOK_TOKEN": "a-token-for-tests",
        "TUSK_DEMO_IMAGES": "200",
        "TUSK_DEMO_EPOCHS": "2",
    }
    try:
        run("docker/cluster.sh", "up", env=env)
        yield env
    finally:
        run("docker/cluster.sh", "down", "--volumes", env=env)


def inspect(env):
    """What the engine knows of each container, by service."""
    label = f"label=com.docker.compose.project={env['TUSK_PROJECT']}"
    ids = run("docker", "ps", "-q", "--filter", label).split()
    found = json.loads(run("docker", "inspect", *ids))
    return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}


def test_everything_is_well_locked_down_and_small(containers):
    found = inspect(containers)
    assert set(found) == {"scheduler", "executor-1", "executor-2", "executor-3", "notebook"}
    for service, one in found.items():
        assert one["State"]["Health"]["Status"] == "healthy", service
        assert one["HostConfig"]["ReadonlyRootfs"], service
        assert one["HostConfig"]["CapDrop"] == ["ALL"], service
        assert one["Config"]["User"] == "tusk", service
        assert not one["Config"]["Image"].endswith(":latest"), service
        for bindings in (one["NetworkSettings"]["Ports"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or []), service
    sizes = {name: json.loads(run("docker", "inspect", found[name]["Image"]))[0]["Size"] for name in found}
    print({name: f"{size / MIB:.0f} MiB" for name, size in sizes.items()})
    assert sizes["scheduler"] < 300_000_000
    assert sizes["executor-1"] < 1_200_000_000
    libraries = run("docker", "run", "--rm", "--user", "0", "--entrypoint", "find", found["scheduler"]["Image"], "/", "-xdev",
                    "-name", "libtorch*")  # fmt: skip
    assert libraries == ""


def test_the_demo_trains_on_all_executors_and_prints_the_epochs(containers):
    printed = run("docker/cluster.sh", "demo", env=containers)
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("| demo ")]
    epochs = [row[2].strip() for row in rows if row[2].strip().isdigit()]
    assert epochs[:2] == ["1", "2"], printed
    assert rows[0][10].strip() == "3", f"three executors, three workers:\n{printed}"


def test_a_client_on_the_host_trains_over_flight_sql(containers):
    uri = f"grpc://127.0.0.1:{containers['TUSK_PORT']}"
    with adbc_driver_flightsql.dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(create_model("m", epochs=1, workers=3))
        assert cursor.fetch_arrow_table().num_rows == 1
        cursor.execute("SELECT predict('m', image) AS p, count(*) AS n FROM xrays_test GROUP BY 1")
        assert sum(row["n"] for row in cursor.fetch_arrow_table().to_pylist()) == 40


def test_an_executors_process_that_is_killed_comes_back(containers):
    container = inspect(containers)["executor-2"]["Id"]
    pid = run("docker", "exec", container, "bash", "-c", "for p in /proc/[0-9]*; do [ $(<$p/comm) = tusk-executor ] && "
              "echo ${p#/proc/}; done").split()[0]  # fmt: skip
    run("docker", "exec", container, "bash", "-c", f"kill -9 {pid}")

    def is_back():
        state = json.loads(run("docker", "inspect", container))[0]
        return state["RestartCount"] == 1 and state["State"].get("Health", {}).get("Status") == "healthy"

    wait_for("executor-2 to be back", is_back, 60, 0.5)


def test_the_notebook_runs_in_its_container_and_needs_its_token(containers):
    port = int(containers["TUSK_NOTEBOOK_PORT"])
    assert http("127.0.0.1", port, "/api/contents")[0] in (302, 403)
    assert http("127.0.0.1", port, "/api/contents/01_first_model.ipynb?token=a-token-for-tests")[0] == 200
    container = inspect(containers)["notebook"]["Id"]
    run("docker", "exec", "-e", "TUSK_EPOCHS=2", container, "jupyter", "nbconvert", "--to", "notebook", "--execute",
        "--output-dir", "/tmp", "01_first_model.ipynb")  # fmt: skip
