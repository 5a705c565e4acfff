"""Limits of queries: they end when nobody waits for them, and have so much memory and no more."""

import contextlib
import json
import pathlib
import signal
import subprocess
import threading
import time

import psutil
import pyarrow.flight
import pytest

from cluster import BIN, REFUSED, Cluster, Process, http, wait_for

# Minutes of hashing on the executors: 400 x 80 x 400 rows.
ON_EXECUTORS = (
    "SELECT sum(character_length(md5(repeat(concat(a.path, c.path), 400)))) AS n "
    "FROM xrays a CROSS JOIN xrays_test b CROSS JOIN xrays c"
)

# Hours of arithmetic in the process that plans it: it reads no table.
IN_PROCESS = "SELECT sum(a.value % (b.value + 1)) AS n FROM range(1, 100000) a CROSS JOIN range(1, 1000000000) b"

MIB = 1 << 20


@pytest.fixture(scope="module")
def limited(tmp_path_factory, data):
    """A scheduler and an executor whose queries have 256 MiB each, in 2 GiB together where control groups allow it."""
    flags = [f"--memory-limit-bytes={256 * MIB}"]
    folder = tmp_path_factory.mktemp("limited") / "cluster"
    with Cluster(folder, data, 1, scheduler_flags=flags, executor_flags=flags) as cluster:
        with control_group(2048 * MIB, cluster):
            yield cluster


@contextlib.contextmanager
def control_group(bytes_max, cluster):
    """Moves the processes of a cluster to a control group with a limit of memory. Does nothing where it may not."""
    group = pathlib.Path("/sys/fs/cgroup") / f"tusk-test-{cluster.scheduler.popen.pid}"
    try:
        group.mkdir()
        (group / "memory.max").write_text(str(bytes_max))
        for process in (cluster.scheduler, *cluster.executors):
            (group / "cgroup.procs").write_text(str(process.popen.pid))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield
        return
    yield
    for process in (cluster.scheduler, *cluster.executors):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    with contextlib.suppress(OSError):
        group.rmdir()


def active_jobs(cluster):
    _, text = http(cluster.scheduler.host, cluster.scheduler.port, "/api/jobs")
    return [job for job in json.loads(text) if job["status"] in ("Queued", "Running")]


def processor_seconds(cluster):
    times = [psutil.Process(p.popen.pid).cpu_times() for p in (cluster.scheduler, *cluster.executors)]
    return sum(one.user + one.system for one in times)


def load(cluster, seconds=0.5):
    """The processors that a cluster uses, over so many seconds."""
    before = processor_seconds(cluster)
    time.sleep(seconds)
    return (processor_seconds(cluster) - before) / seconds


def wait_busy(cluster, sql):
    if sql == ON_EXECUTORS:
        wait_for("the job to run", lambda: active_jobs(cluster), 30)
    wait_for("processors to be busy", lambda: load(cluster) > 0.5, 30)


def wait_idle(cluster):
    wait_for("the job to be gone", lambda: not active_jobs(cluster), 10)
    wait_for("processors to be idle", lambda: load(cluster) < 0.25, 10)


@contextlib.contextmanager
def querying(cluster, sql, before="SELECT 1"):
    """A connection and its cursor, which fetches the rows of a query in a thread. The cursor must fail."""
    with cluster.connect() as connection, connection.cursor() as cursor:
        cursor.execute(before).fetchall()
        failures = []

        def fetch():
            try:
                cursor.execute(sql)
                cursor.fetchall()
            except REFUSED as error:
                failures.append(error)

        thread = threading.Thread(target=fetch)
        thread.start()
        wait_busy(cluster, sql)
        yield cursor
        thread.join(20)
        assert not thread.is_alive() and failures


@pytest.mark.parametrize("sql", [ON_EXECUTORS, IN_PROCESS], ids=["on executors", "in the scheduler"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_query_ends_with_its_client(limited, sql, number):
    client = limited.tusk_sql(sql)
    wait_busy(limited, sql)
    client.signal(number)
    assert client.popen.wait(10) != 0
    wait_idle(limited)


@pytest.mark.parametrize("sql", [ON_EXECUTORS, IN_PROCESS], ids=["on executors", "in the scheduler"])
def test_a_query_ends_when_its_cursor_is_cancelled(limited, sql):
    with querying(limited, sql) as cursor:
        cursor.adbc_cancel()
    wait_idle(limited)


@pytest.mark.parametrize(
    "sql",
    [f"INSERT INTO numbers {IN_PROCESS}", f"COPY ({ON_EXECUTORS}) TO '{{folder}}/numbers.parquet'"],
    ids=["INSERT", "COPY"],
)
def test_a_statement_that_writes_rows_ends_when_its_cursor_is_cancelled(limited, tmp_path, sql):
    """Such a statement is finished before its rows can be fetched."""
    sql = sql.format(folder=tmp_path)
    with querying(limited, sql, before="CREATE TABLE numbers (n BIGINT)") as cursor:
        cursor.adbc_cancel()
    wait_idle(limited)


def field(number, data):
    """A field of a message of protobuf."""
    length, size = b"", len(data)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def test_a_query_ends_with_the_action_of_flight(limited):
    client = pyarrow.flight.connect(f"grpc://127.0.0.1:{limited.scheduler.port}")
    # The session is that of a token.
    options = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", b"Bearer 1234")])
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"

    def started(sql=ON_EXECUTORS):
        command = field(1, url) + field(2, field(1, sql.encode()))
        return client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(command), options)

    def cancel(info):
        action = pyarrow.flight.Action("CancelFlightInfo", field(1, info.serialize()))
        (result,) = client.do_action(action, options)
        return result.body.to_pybytes()

    info = started()
    failures = []

    def fetch():
        try:
            client.do_get(info.endpoints[0].ticket, options).read_all()
        except Exception as error:
            failures.append(str(error))

    thread = threading.Thread(target=fetch)
    thread.start()
    wait_busy(limited, ON_EXECUTORS)
    cancelled = bytes([1 << 3, 1])
    assert cancel(info) == cancelled
    thread.join(20)
    assert not thread.is_alive() and "the statement was cancelled" in failures[0]
    wait_idle(limited)
    # Rows that were not fetched can be cancelled, once.
    info = started()
    assert cancel(info) == cancelled
    with pytest.raises(Exception, match="no such statement"):
        cancel(info)
    # A statement that has written its rows cannot be cancelled any more.
    started("CREATE TABLE numbers (n BIGINT)")
    assert cancel(started("INSERT INTO numbers VALUES (1)")) == bytes([1 << 3, 3])
    client.close()


def test_other_sessions_are_served_while_queries_compute(limited):
    clients = [limited.tusk_sql(IN_PROCESS) for _ in range(4)]
    wait_busy(limited, IN_PROCESS)
    assert limited.value("SELECT count(*) FROM xrays_test") == 80
    assert limited.value("SELECT 1 + 1") == 2
    for client in clients:
        client.kill()
    wait_idle(limited)


@pytest.mark.parametrize("sql", [ON_EXECUTORS, IN_PROCESS], ids=["on executors", "in the scheduler"])
def test_sigterm_ends_a_scheduler_whose_queries_compute(new_cluster, sql):
    cluster = new_cluster(executors=1, scheduler_flags=["--drain-timeout-seconds=1"])
    client = cluster.tusk_sql(sql)
    wait_busy(cluster, sql)
    assert cluster.scheduler.stop(10) == 0
    assert client.popen.wait(10) != 0


def test_ctrl_c_interrupts_a_query_of_the_embedded_engine(tmp_path):
    command = [BIN / "tusk", "sql", "--store", tmp_path / "store", "-c", IN_PROCESS]
    client = Process("embedded", [str(word) for word in command], 0, 0, tmp_path / "log", None)
    client.start()
    process = psutil.Process(client.popen.pid)
    wait_for("the query to compute", lambda: process.cpu_times().user > 2, 60)
    client.signal(signal.SIGINT)
    assert client.popen.wait(10) == 1
    assert "interrupted" in client.log_text()


@pytest.mark.parametrize(
    ("sql", "process"),
    [
        # 1.3 GB in one list.
        ("SELECT array_length(array_agg(repeat(a.path, 200))) FROM xrays a CROSS JOIN xrays b", "tusk-executor"),
        ("SELECT max(n) FROM (SELECT sum(value) OVER () AS n FROM range(0, 100000000))", "tusk-scheduler"),
        ("SELECT count(*) FROM range(0, 90000000) a JOIN range(0, 90000000) b ON a.value = b.value", "tusk-scheduler"),
    ],
)
def test_a_query_that_needs_too_much_memory_is_refused_with_the_limit_and_its_flag(limited, sql, process):
    message = rf"not enough memory: .* of {process} together is 256.0 MB.*--memory-limit-bytes"
    with pytest.raises(REFUSED, match=message):
        limited.rows(sql)
    for one in (limited.scheduler, *limited.executors):
        assert one.is_running() and one.memory_bytes() < 2048 * MIB
    assert limited.value("SELECT count(*) FROM xrays") == 400


def test_queries_under_load_stay_within_their_memory(limited):
    """Sorts of 500 MB, several at once: they are written to disk, and no process grows beyond its limit."""
    sql = (
        "SELECT max(character_length(t)) AS n FROM (SELECT t, row_number() OVER (ORDER BY value % 1000) AS r FROM "
        "(SELECT value, repeat('x', 1000 + value % 2) AS t FROM range(0, 250000)))"
    )
    clients = [limited.tusk_sql(sql) for _ in range(2)]
    peak = 0
    while any(client.is_running() for client in clients):
        peak = max(peak, limited.scheduler.memory_bytes())
        time.sleep(0.05)
    assert [client.popen.returncode for client in clients] == [0, 0], clients[0].log_tail()
    assert all("1001" in client.log_text() for client in clients)
    assert peak < 2048 * MIB


def test_a_session_cannot_lift_the_limits_of_the_process(limited):
    with pytest.raises(REFUSED, match="a limit of the whole process"):
        limited.rows("SET datafusion.runtime.memory_limit = '100G'")


# The time of planning grows with the square of the length, and these programs may not be optimised.
TERMS = 1000


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT 1" + "+1" * (TERMS - 1), TERMS),
        ("SELECT sum(width" + "+1" * TERMS + ") / 400 FROM xrays", 96 + TERMS),
        ("SELECT count(*) FROM xrays WHERE width > 0" + " AND width > 1" * TERMS, 400),
        ("SELECT CASE 999" + "".join(f" WHEN {n} THEN {n + 1}" for n in range(TERMS)) + " END", 1000),
        # Messages in each other, which no decoder reads: the scheduler runs it itself.
        ("SELECT sum(width" + "+1-1" * 100 + ") / 400 FROM xrays", 96),
    ],
    ids=["constants", "a column", "AND", "CASE", "mixed"],
)
def test_deep_statements_are_computed(limited, sql, value):
    assert limited.value(sql) == value


def test_statements_that_are_too_deep_are_refused(limited):
    for sql in ("SELECT 1" + "+1" * 100_000, "SELECT " + "(" * 5000 + "1" + ")" * 5000):
        with pytest.raises(REFUSED, match="too long a chain|nested too deeply"):
            limited.rows(sql)
    assert limited.value("SELECT 1") == 1


def test_the_flag_is_in_the_help_of_every_process():
    for words in (["tusk-scheduler"], ["tusk-executor"], ["tusk", "sql"]):
        text = subprocess.run([BIN / words[0], *words[1:], "--help"], check=True, capture_output=True, text=True).stdout
        assert "--memory-limit-bytes" in text and "TUSK_MEMORY_LIMIT_BYTES" in text, words
