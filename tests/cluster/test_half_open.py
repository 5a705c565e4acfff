"""Clients that connect and then say nothing, or say it very slowly: everyone else is served."""

import contextlib
import socket
import time

import psutil
from cluster import http, wait_for
from test_hostile import PREFACE, SETTINGS, frame, ports_of

CONNECTIONS = 200
MEMORY_GROWTH_MAX = 64 << 20
ANSWER_SECONDS = 20

# What each of the connections has said before it falls silent.
BEGINNINGS = [b"", b"P", PREFACE, PREFACE + SETTINGS, PREFACE + SETTINGS + frame(1, 0, 1, b"\x00", length=4000),
              b"GET /metrics HTTP/1.1\r\nX: a", b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\nx"]  # fmt: skip


def half_open(stack, port):
    """Many connections that wait in the middle of what they say."""
    connections = []
    for index in range(CONNECTIONS):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        connection.sendall(BEGINNINGS[index % len(BEGINNINGS)])
        connections.append(connection)
    return connections


def drip(connections):
    """One more byte on each; the other side may have hung up."""
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.sendall(b"a")


def connections_of(process):
    """How many connections a process holds."""
    return len(psutil.Process(process.popen.pid).net_connections(kind="tcp"))


def test_half_open_connections_keep_nobody_waiting_and_cost_no_memory(new_cluster):
    cluster = new_cluster()
    processes = [cluster.scheduler, *cluster.executors]
    counts = "SELECT count(*) AS n FROM xrays"
    rows = cluster.value(counts)
    before = {process.name: process.memory_bytes() for process in processes}
    with contextlib.ExitStack() as stack:
        connections = [one for _, port in ports_of(cluster) for one in half_open(stack, port)]
        for _ in range(3):
            drip(connections)
            started = time.monotonic()
            assert cluster.value(counts) == rows
            assert time.monotonic() - started < ANSWER_SECONDS
        for process in processes:
            assert http(process.host, process.http_port, "/healthz")[0] == 200, process.name
            grown = process.memory_bytes() - before[process.name]
            assert grown < MEMORY_GROWTH_MAX, f"{process.name} grew by {grown >> 20} MiB"
    # The connections are closed now, and so are the processes' ends of them.
    for process in processes:
        wait_for(f"{process.name} to let go", lambda: connections_of(process) < CONNECTIONS // 4, 30)
    assert cluster.value(counts) == rows
