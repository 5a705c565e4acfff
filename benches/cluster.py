"""A cluster of processes on this machine, for benchmarks."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent / "target")
# What `make dist` built; another build where TUSK_BIN names its folder.
BIN = pathlib.Path(os.environ.get("TUSK_BIN") or TARGET / "dist")
START_SECONDS = 60


def stop(sentence):
    sys.exit(f"{pathlib.Path(sys.argv[0]).stem}: {sentence}")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port, process, what):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    stop(f"{what} did not start within {START_SECONDS} s; its log is in {what}.log")


class Cluster:
    """A scheduler and executors of some threads each. `folder` takes the store, the caches and the logs."""

    def __init__(self, binaries, folder, workers, threads, executor_flags=()):
        self.tusk, self.folder, self.workers = binaries / "tusk", folder, workers
        self.scheduler, self.executors = None, []
        self.port, *ports = free_ports(1 + 3 * workers)
        self.scheduler = self.start(binaries, "tusk-scheduler", "scheduler", self.port, "--bind-port", self.port)
        for worker in range(workers):
            flight, grpc, http = ports[3 * worker : 3 * worker + 3]
            flags = ["--scheduler-host", "127.0.0.1", "--scheduler-port", self.port, "--bind-port", flight]
            flags += ["--bind-grpc-port", grpc, "--bind-health-port", http, "--vcores", threads, *executor_flags]
            cache, work = folder / f"cache-{worker}", folder / f"work-{worker}"
            cache.mkdir(exist_ok=True)
            work.mkdir(exist_ok=True)
            flags += ["--cache-dir", cache, "--work-dir", work, "--external-host", "127.0.0.1"]
            self.executors.append(self.start(binaries, "tusk-executor", f"executor-{worker}", grpc, *flags))

    def start(self, binaries, program, name, port, *flags):
        log = open(self.folder / f"{name}.log", "w")
        command = [binaries / program, "--bind-host", "127.0.0.1", "--store", self.folder / "store", *flags]
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        wait_for(port, process, self.folder / name)
        return process

    def sql(self, statements):
        """The rows of the statements, each a dictionary."""
        command = [self.tusk, "sql", "--scheduler", f"df://127.0.0.1:{self.port}", "--store", self.folder / "store"]
        command = [str(word) for word in [*command, "--format", "json", "-c", statements]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            stop(f"tusk sql failed: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def train(self, net, options, source, tables=""):
        """The rows of the epochs of one run on all executors."""
        options = f"{options}, workers = {self.workers}"
        rows = self.sql(f"{tables} CREATE OR REPLACE MODEL bench USING {net} OPTIONS ({options}) TRAIN ON {source};")
        epochs = [row for row in rows if "epoch" in row]
        if {row["workers"] for row in epochs} != {self.workers}:
            stop(f"the run did not have {self.workers} workers: {epochs}")
        return epochs

    def close(self):
        processes = [*self.executors, self.scheduler]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def peak_bytes(process):
    """The most memory that a process has had at once (resident set)."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) << 10
