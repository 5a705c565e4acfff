"""Bytes that no client of ours sends, on every port: refused; the process lives and its memory stays flat."""

import json
import os
import random
import socket
import struct

import pyarrow as pa
import pyarrow.flight as flight
import pytest

from cluster import REFUSED, ROOT, create_model, http, wait_for

MEMORY_GROWTH_MAX = 96 << 20
ROUNDS = 20

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = struct.pack(">I", 0)[1:] + b"\x04\x00" + struct.pack(">I", 0)


def frame(kind, flags, stream, payload, length=None):
    """An HTTP/2 frame, whose length may be a lie."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(path, message):
    """A gRPC call on stream 1: headers without compression, then a message."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
             ("content-type", "application/grpc"), ("te", "trailers"),
             # Ballista's scheduler looks at no query of another version.
             ("ballista-version", "55.0.0")]  # fmt: skip
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in pairs
    )
    return PREFACE + SETTINGS + frame(1, 4, 1, block) + frame(0, 1, 1, message)


def payloads(seed):
    """Bytes by what is wrong with them."""
    dice = random.Random(seed)
    noise = dice.randbytes(dice.randrange(1, 1 << 16))
    yield "nothing", b""
    yield "noise", noise
    yield "a preface and noise", PREFACE + SETTINGS + noise
    yield "half a frame", PREFACE + SETTINGS + frame(1, 4, 1, b"\x00" * 10, length=4000)
    yield "a frame of 16 MiB", PREFACE + SETTINGS + frame(0, 0, 1, noise, length=(1 << 24) - 1)
    yield "many settings", PREFACE + SETTINGS * 2000
    yield "many pings", PREFACE + SETTINGS + frame(6, 0, 0, b"12345678") * 2000
    yield "resets", PREFACE + SETTINGS + b"".join(frame(3, 0, i * 2 + 1, b"\0\0\0\x08") for i in range(500))
    yield "an old protocol", b"PRI * HTTP/1.1\r\n\r\n"
    yield "a header without end", b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20)
    yield "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise[:512]
    for path in ("/arrow.flight.protocol.FlightService/DoGet", "/arrow.flight.protocol.FlightService/DoAction",
                 "/arrow.flight.protocol.FlightService/GetFlightInfo", "/arrow.flight.protocol.FlightService/DoPut",
                 "/ballista.protobuf.SchedulerGrpc/ExecuteQuery", "/ballista.protobuf.SchedulerGrpc/UpdateTaskStatus",
                 "/ballista.protobuf.ExecutorGrpc/LaunchMultiTask"):  # fmt: skip
        yield f"a giant length to {path}", request(path, b"\x00" + struct.pack(">I", 0xFFFFFFF0) + b"x" * 64)
        yield f"half a message to {path}", request(path, b"\x00" + struct.pack(">I", 1000) + b"x" * 64)
        body = noise[:2000]
        yield f"noise to {path}", request(path, b"\x00" + struct.pack(">I", len(body)) + body)
        yield f"a compressed lie to {path}", request(path, b"\x01" + struct.pack(">I", len(body)) + body)


def send(port, data):
    """Sends what the other side takes, and reads what it answers for a moment."""
    with socket.socket() as connection:
        connection.settimeout(0.3)
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(data)
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass


def ports_of(cluster):
    yield cluster.scheduler, cluster.scheduler.port
    executor = cluster.executors[0]
    flags = dict(word.split("=", 1) for word in executor.command[1:] if "=" in word)
    for flag in ("--bind-port", "--bind-grpc-port", "--bind-health-port"):
        yield executor, int(flags[flag])


def test_hostile_bytes_are_refused_on_every_port_and_memory_stays_flat(new_cluster, undisturbed):
    cluster = new_cluster()
    cluster.rows(create_model("before", epochs=1))
    seed = int(os.environ.get("TUSK_TEST_SEED", "42"))
    for process, port in ports_of(cluster):
        for name, data in payloads(seed):
            send(port, data)
            assert process.is_running(), f"{process.name} died of {name} on port {port}"
    before = {process.name: process.memory_bytes() for process in (cluster.scheduler, *cluster.executors)}
    for process, port in ports_of(cluster):
        for round_ in range(ROUNDS):
            for name, data in list(payloads(seed + round_))[1:8]:
                with socket.socket() as connection:
                    connection.settimeout(0.5)
                    try:
                        connection.connect(("127.0.0.1", port))
                        connection.sendall(data)
                    except OSError:
                        pass
            assert process.is_running(), f"{process.name} died on port {port}"
    for process in (cluster.scheduler, *cluster.executors):
        assert http(process.host, process.http_port, "/healthz")[0] == 200
        grown = process.memory_bytes() - before[process.name]
        assert grown < MEMORY_GROWTH_MAX, f"{process.name} grew by {grown >> 20} MiB"
    cluster.rows(create_model("m"))
    assert cluster.weights_sha256("m") == undisturbed()


def field(tag, data):
    """A field of protobuf that holds bytes."""
    length, rest = b"", len(data)
    while rest > 0x7F:
        length, rest = length + bytes([rest & 0x7F | 0x80]), rest >> 7
    return bytes([tag << 3 | 2]) + length + bytes([rest]) + data


REFUSAL = "a table in it"


def test_a_plan_whose_table_claims_more_than_any_memory_is_refused_where_plans_come_in(new_cluster):
    cluster = new_cluster()
    plan = (ROOT / "core/tests/corpus/codec/table_with_a_giant_header_1").read_bytes()
    launched = [
        ("LaunchMultiTask", field(1, field(2, b"hostile-job") + field(5, plan)) + field(2, b"127.0.0.1:1")),
        ("LaunchTask", field(1, field(3, b"hostile-job") + field(7, plan)) + field(2, b"127.0.0.1:1")),
    ]
    scheduler, *executor = ports_of(cluster)
    calls = [(*executor[1], f"/ballista.protobuf.ExecutorGrpc/{name}", message) for name, message in launched]
    # The plan as a physical one, as a client's query.
    calls.append((*scheduler, "/ballista.protobuf.SchedulerGrpc/ExecuteQuery", field(7, plan)))
    for process, port, path, message in calls:
        refused = process.log_text().count(REFUSAL)
        send(port, request(path, b"\x00" + struct.pack(">I", len(message)) + message))
        wait_for(f"{path} to be refused", lambda p=process, n=refused: p.log_text().count(REFUSAL) > n, 20)
        assert process.is_running(), f"{process.name} died of {path}"
    cluster.rows(create_model("m", epochs=1))


REPORT = {
    "wire_version": 2, "executor_id": "x", "host": "127.0.0.1", "version": "0", "devices": [],
    "threads_per_device": 1, "shards": [], "progress": [],
    "totals": dict.fromkeys(["images_decoded", "images_trained", "images_scored", "shard_hits", "shard_misses",
                             "shard_memory_bytes", "shard_disk_bytes"], 0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("action", "body"),
    [
        pytest.param("tusk.report", json.dumps(REPORT | {"wire_version": 999}).encode(), id="another version"),
        pytest.param("tusk.report", b"{", id="half JSON"),
        pytest.param("tusk.report", b"[" * 100_000, id="deep JSON"),
        pytest.param("tusk.report", b"\xff" * 1000, id="no text"),
        pytest.param("tusk.report", json.dumps(REPORT | {"shards": ["x"] * 200_000}).encode(), id="many shards"),
        pytest.param("tusk.manifest", b"../../etc/passwd", id="a path"),
        pytest.param("CreatePreparedStatement", b"\x0a\xff\xff\xff\xff\x0f", id="a length that lies"),
        pytest.param("no.such.action", b"", id="unknown"),
    ],
)
def test_an_action_of_the_wrong_form_or_version_is_refused(shared, action, body):
    with flight.FlightClient(f"grpc://127.0.0.1:{shared.scheduler.port}") as client:
        with pytest.raises((pa.ArrowException, OSError, KeyError)):
            list(client.do_action(flight.Action(action, body)))
    assert shared.scheduler.is_running()


@pytest.mark.parametrize(
    "ticket",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x", id="a letter"),
        pytest.param(b"\x0a\x7f" + b"a" * 20, id="a length that lies"),
        pytest.param(random.Random(42).randbytes(4096), id="noise"),
        pytest.param(b"\x00" * 100_000, id="zeros"),
    ],
)
def test_a_ticket_that_nobody_gave_out_is_refused(shared, ticket):
    for port in (shared.scheduler.port, shared.executors[0].port):
        with flight.FlightClient(f"grpc://127.0.0.1:{port}") as client, pytest.raises(REFUSED):
            client.do_get(flight.Ticket(ticket)).read_all()


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("(" * 5000 + "1" + ")" * 5000, id="parentheses"),
        pytest.param("SELECT " + "-" * 50_000 + "1", id="a comment"),
        pytest.param("SELECT " + "NOT " * 20_000 + "true", id="negations"),
        pytest.param("SELECT 1" + " + 1" * 20_000, id="a long sum"),
        pytest.param("\0", id="zero"),
        pytest.param("", id="empty"),
        pytest.param(";", id="semicolon"),
        pytest.param("SELECT 1; SELECT 2", id="two statements"),
        pytest.param("CREATE MODEL " + "m" * 100_000 + " TRAIN ON xrays", id="a long name"),
        pytest.param('CREATE MODEL "../../m" TRAIN ON xrays', id="a path"),
    ],
)
def test_sql_that_nobody_writes_is_refused_and_bears_no_panic(shared, sql):
    with pytest.raises(REFUSED) as refusal:
        shared.rows(sql)
    assert "panic" not in str(refusal.value)
    assert shared.scheduler.is_running()
