"""An executor on a host of its own that is cut off from the network for a while."""

import os
import shutil
import subprocess
import time

import pytest

from cluster import DEAD_AFTER_SECONDS, Cluster, free_ports, wait_for

NAMESPACE = f"tusk-{os.getpid()}"
NEAR, FAR = "10.213.0.1", "10.213.0.2"


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def host():
    """A network namespace with an address of its own, joined to this machine by a pair of virtual cards."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("a network namespace takes root and iproute2")
    near = f"tusk{os.getpid() % 100000}"
    try:
        ip("netns", "add", NAMESPACE)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", "far", "netns", NAMESPACE)
        ip("addr", "add", f"{NEAR}/24", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", NAMESPACE, "addr", "add", f"{FAR}/24", "dev", "far")
        ip("-n", NAMESPACE, "link", "set", "far", "up")
        ip("-n", NAMESPACE, "link", "set", "lo", "up")
        yield NAMESPACE
    finally:
        ip("netns", "del", NAMESPACE)


class TwoHosts(Cluster):
    """A cluster whose second executor runs on another host."""

    def start(self):
        self.bind_host = "0.0.0.0"
        self.scheduler_flags += ["--insecure-listen", f"--external-host={NEAR}"]
        self.start_scheduler()
        for name, address in [("executor-1", NEAR), ("executor-2", FAR)]:
            ports = [50051, 50052, 50053] if address == FAR else None
            ports = ports or free_ports(3)
            command = self.executor_command(name, ports)
            command += ["--bind-host=0.0.0.0", f"--external-host={address}", f"--scheduler-host={NEAR}"]
            if address == FAR:
                command = ["ip", "netns", "exec", NAMESPACE, *command]
            self.add_executor(name, command, address, ports)
        self.wait_ready()


def test_an_executor_cut_off_from_the_network_and_back_changes_nothing(host, tmp_path, data, undisturbed):
    with TwoHosts(tmp_path / "cluster", data) as cluster:
        run = cluster.start_run("m")
        cluster.wait_epoch("m", 1)
        cluster.wait_busy(cluster.executors[1])
        ip("-n", NAMESPACE, "link", "set", "far", "down")
        time.sleep(DEAD_AFTER_SECONDS + 4)
        ip("-n", NAMESPACE, "link", "set", "far", "up")
        assert [row["epoch"] for row in run.epochs()] == [1, 2, 3, 4, 5]
        run.close()
        assert cluster.weights_sha256("m") == undisturbed()
        wait_for("both executors", lambda: cluster.scheduler.metric("tusk_scheduler_executors") == 2)
