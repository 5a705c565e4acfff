"""A cluster of real processes on this machine, and the means to hurt it."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import adbc_driver_flightsql.dbapi
import psutil
import pyarrow as pa

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TUSK_BIN", ROOT / "target" / "debug"))

# An executor counts as dead after so many seconds of silence. Ballista's own default is minutes.
DEAD_AFTER_SECONDS = 6

# What a client's driver raises when the server refuses or goes away.
REFUSED = (adbc_driver_flightsql.dbapi.Error, pa.ArrowException, OSError)

# A net that trains in about a second per epoch, so that there is time to kill something meanwhile.
OPTIONS = {
    "image_size": "64",
    "batch_size": "16",
    "epochs": "5",
    "early_stop": "false",
    "precision": "'f32'",
    '"group"': "'group'",
    "validation_fraction": "0.2",
    "workers": "2",
    "averages_per_epoch": "2",
}


def create_model(name, on="xrays", statement="CREATE MODEL", **options):
    """A CREATE MODEL with OPTIONS; keyword arguments change them, and None leaves one out."""
    listed = ", ".join(f"{key} = {value}" for key, value in (OPTIONS | options).items() if value is not None)
    return f"{statement} {name} USING cnn OPTIONS ({listed}) TRAIN ON {on}"


def wait_for(what, holds, seconds=60.0, every=0.05):
    """Waits until holds() is true and gives what it gave; fails naming `what` after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(every)


def is_free(port):
    with contextlib.suppress(OSError), socket.create_server(("0.0.0.0", port)):
        return True
    return False


# Ports that nobody listens on, each given once. They lie below those that Linux and macOS hand out by themselves: a
# connection somewhere else cannot take one before the process that was told of it listens there.
# Workers of pytest-xdist take odd ports and even ones.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
FREE_PORTS = filter(is_free, random.sample(range(20000 + WORKER, 32768, WORKERS), 12768 // WORKERS))


def free_ports(count):
    return list(itertools.islice(FREE_PORTS, count))


def http(host, port, path, ca=None):
    """(status, text) of a GET, or (0, reason) when nobody answers; over TLS where an authority is given."""
    scheme, context = ("https", ssl.create_default_context(cafile=ca)) if ca else ("http", None)
    try:
        with urllib.request.urlopen(f"{scheme}://{host}:{port}{path}", timeout=2, context=context) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def parse_metrics(text):
    """Prometheus' text format as {'name{labels}': value}, and the sum over labels as {'name': value}."""
    values = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
            bare = name.split("{")[0]
            if bare != name:
                values[bare] = values.get(bare, 0.0) + float(value)
    return values


@dataclasses.dataclass
class Process:
    """One process and what is needed to start it again."""

    name: str
    command: list
    port: int
    http_port: int
    log: pathlib.Path
    env: dict
    host: str = "127.0.0.1"
    popen: subprocess.Popen = None
    ca: str = None

    def start(self):
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, env=self.env, stdin=subprocess.DEVNULL
            )

    def is_running(self):
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """As the out-of-memory killer does it."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, seconds=15):
        """Asks it to end, and gives its exit status."""
        if self.is_running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def ready(self):
        if not self.is_running():
            raise AssertionError(f"{self.name} ended with status {self.popen.returncode}:\n{self.log_tail()}")
        return http(self.host, self.http_port, "/readyz", self.ca)[0] == 200

    def metrics(self):
        status, text = http(self.host, self.http_port, "/metrics", self.ca)
        return parse_metrics(text) if status == 200 else {}

    def metric(self, name):
        return self.metrics().get(name, 0.0)

    def memory_bytes(self):
        return psutil.Process(self.popen.pid).memory_info().rss

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=60):
        return "\n".join(self.log_text().splitlines()[-lines:])


class Cluster:
    """A scheduler and executors, each a process of its own, in one folder."""

    def __init__(self, folder, data, executors=2, store=None, scheduler_flags=(), executor_flags=(), env=None, ca=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = pathlib.Path(data)
        self.store_url = store or str(self.folder / "store")
        self.store = pathlib.Path(self.store_url)
        self.env = os.environ | {"RUST_BACKTRACE": "1", "TMPDIR": str(self.folder)} | (env or {})
        self.env = {key: value for key, value in self.env.items() if not key.startswith("TUSK_")}
        self.bind_host = "127.0.0.1"
        self.ca = ca
        self.scheduler_flags = list(scheduler_flags)
        self.executor_flags = list(executor_flags)
        self.executors = []
        self.wanted = executors
        self.clients = []
        self.runs = []
        self.scheduler = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.print_logs()
        for run in self.runs:
            run.close()
        for process in [*self.clients, *self.executors, self.scheduler]:
            if process is not None and process.is_running():
                process.signal(signal.SIGCONT)
                process.kill()

    def print_logs(self):
        for process in [self.scheduler, *self.executors, *self.clients]:
            if process is not None:
                print(f"----- {process.name}: {process.log}\n{process.log_tail()}")

    # Starting

    def start(self):
        self.start_scheduler()
        for index in range(self.wanted):
            self.add_executor(f"executor-{index + 1}")
        self.wait_ready()

    def start_scheduler(self):
        (port,) = free_ports(1)
        command = [
            str(BIN / "tusk-scheduler"),
            f"--bind-host={self.bind_host}",
            f"--bind-port={port}",
            f"--store={self.store_url}",
            f"--data={self.data}",
            f"--executor-timeout-seconds={DEAD_AFTER_SECONDS}",
            "--expire-dead-executor-interval-seconds=1",
            "--log-format=text",
            *self.scheduler_flags,
        ]
        self.scheduler = Process("scheduler", command, port, port, self.folder / "scheduler.log", self.env)
        if self.ca:
            self.scheduler.host, self.scheduler.ca = "localhost", str(self.ca)
        self.scheduler.start()
        # Executors may be missing: it is healthy before it is ready.
        wait_for("the scheduler's health", lambda: self.is_healthy(self.scheduler), 30)

    def is_healthy(self, process):
        if not process.is_running():
            raise AssertionError(f"{process.name} ended:\n{process.log_tail()}")
        return http(process.host, process.http_port, "/healthz", process.ca)[0] == 200

    def executor_command(self, name, ports):
        flight, grpc, health = ports
        return [
            str(BIN / "tusk-executor"),
            "--bind-host=127.0.0.1",
            "--external-host=127.0.0.1",
            f"--bind-port={flight}",
            f"--bind-grpc-port={grpc}",
            f"--bind-health-port={health}",
            "--scheduler-host=127.0.0.1",
            f"--scheduler-port={self.scheduler.port}",
            f"--work-dir={self.folder / name}",
            f"--store={self.store_url}",
            "--vcores=1",
            "--devices=cpu",
            "--executor-heartbeat-interval-seconds=1",
            "--log-format=text",
            *self.executor_flags,
        ]

    def add_executor(self, name, command=None, host="127.0.0.1", ports=None):
        ports = ports or free_ports(3)
        (self.folder / name).mkdir(exist_ok=True)
        command = command or self.executor_command(name, ports)
        executor = Process(name, command, ports[0], ports[2], self.folder / f"{name}.log", self.env, host)
        executor.start()
        self.executors.append(executor)
        return executor

    def wait_ready(self, seconds=60):
        for process in [self.scheduler, *self.executors]:
            if process.is_running():
                wait_for(f"{process.name} ready", process.ready, seconds)
        alive = sum(executor.is_running() for executor in self.executors)
        wait_for(
            f"{alive} executors known to the scheduler",
            lambda: self.scheduler.metric("tusk_scheduler_executors") >= alive,
            seconds,
        )

    def restart(self, process):
        """Starts a process that is gone, on the same ports."""
        assert not process.is_running()
        process.start()

    # Clients

    def connect(self, **options):
        """An ADBC connection to the scheduler."""
        uri = options.pop("uri", f"grpc://127.0.0.1:{self.scheduler.port}")
        return adbc_driver_flightsql.dbapi.connect(uri, db_kwargs=options, autocommit=True)

    def rows(self, sql):
        """The rows of a statement, each a dict."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table().to_pylist()

    def value(self, sql):
        (row,) = self.rows(sql)
        (value,) = row.values()
        return value

    def tusk_sql(self, sql, *flags):
        """`tusk sql --scheduler` as a process of its own, which a test may kill; its output is in its log."""
        name = f"client-{len(self.clients) + 1}"
        url = f"df://127.0.0.1:{self.scheduler.port}"
        command = [str(BIN / "tusk"), "sql", "--scheduler", url, "--format", "csv", *flags, "-c", sql]
        client = Process(name, command, 0, 0, self.folder / f"{name}.log", self.env)
        client.start()
        self.clients.append(client)
        return client

    # Runs

    def training(self, model):
        """SHOW TRAINING as a dict; empty while there is no such run or nobody answers."""
        try:
            (row,) = self.rows(f"SHOW TRAINING {model}")
            return row
        except adbc_driver_flightsql.dbapi.Error:
            return {}

    def wait_epoch(self, model, epoch, seconds=60):
        return wait_for(
            f"epoch {epoch} of {model}",
            lambda: (row := self.training(model)) and row["epoch"] >= epoch and row,
            seconds,
        )

    def wait_status(self, model, status, seconds=90):
        def reached():
            row = self.training(model)
            is_over = row and not row["active"] and row["status"] in ("finished", "failed", "cancelled")
            if is_over and row["status"] != status:
                raise AssertionError(f"the run of {model} ended as {row['status']}, not {status}: {row['error']}")
            return is_over and row

        return wait_for(f"the run of {model} to be {status}", reached, seconds, 0.2)

    def wait_busy(self, executor, seconds=30):
        """Waits until an executor trains."""
        wait_for(f"{executor.name} to train", lambda: executor.metric("tusk_executor_devices_busy") > 0, seconds, 0.01)

    def start_run(self, model, **options):
        """Starts a run that belongs to the scheduler: the connection that asked for it is closed."""
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute(create_model(model, **options))
        reader = cursor.fetch_record_batch()
        wait_for(f"the run of {model}", lambda: self.training(model), 30)
        self.runs.append(Run(connection, cursor, reader))
        return self.runs[-1]

    def manifest(self, model):
        return json.loads((self.store / "models" / model / "manifest.json").read_text())

    def weights_sha256(self, model):
        """What tells two models apart to the bit."""
        path = self.store / self.manifest(model)["weights"]["path"]
        return hashlib.sha256(path.read_bytes()).hexdigest()


class Run:
    """A CREATE MODEL whose rows are still coming."""

    def __init__(self, connection, cursor, reader):
        self.connection, self.cursor, self.reader = connection, cursor, reader

    def epochs(self):
        """All its rows, as they come."""
        for batch in self.reader:
            yield from batch.to_pylist()

    def close(self):
        with contextlib.suppress(Exception):
            self.reader.close()
        with contextlib.suppress(Exception):
            self.cursor.close()
        with contextlib.suppress(Exception):
            self.connection.close()


class Proxy:
    """Passes TCP connections on to a port, until it is cut; then they are refused, until it is mended."""

    def __init__(self, target_port):
        self.target_port = target_port
        (self.port,) = free_ports(1)
        self.listener = None
        self.open = set()
        self.mend()

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in list(self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.open.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target_port))
                self.open |= {near, far}
                for pair in [(near, far), (far, near)]:
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
