#!/usr/bin/env python3
"""Measures the time until a process has answered, and the memory of idle processes.

    benches/startup.py [--rounds 10] [--bin target/dist]

Times are medians of the wall time of whole processes. Memory is the resident set of a scheduler and of an executor that have been
idle for five seconds. The first rows show libtorch's part of the start: they measure a C program that links libtorch and does
nothing, with glibc's malloc. This needs `cc` and LIBTORCH, as a build does.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from cluster import BIN

IDLE_SECONDS, START_SECONDS, PORT = 5, 30, 30050


def run(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"startup: {' '.join(str(word) for word in command)} failed: {done.stderr}")
    return done.stdout


def median_ms(rounds, command):
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        run(command)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e3


NOTHING = """
#include <unistd.h>
int main(int count, char **words) { if (count > 1) _exit(0); return 0; }
"""


def nothing(folder):
    """Builds a program that links libtorch and does nothing. With an argument, it exits without libtorch's destructors."""
    source, program = folder / "nothing.c", folder / "nothing"
    source.write_text(NOTHING)
    libraries = pathlib.Path(os.environ["LIBTORCH"]) / "lib"
    link = ["-Wl,--no-as-needed", f"-L{libraries}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{libraries}"]
    run(["cc", source, "-o", program, *link])
    return program


def resident_mb(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
    return int(kilobytes) / 1024


def idle(binaries, folder):
    """Resident megabytes of a scheduler and of an executor."""
    store, work = folder / "idle-store", folder / "work"
    work.mkdir()
    scheduler = [binaries / "tusk-scheduler", "--bind-host", "127.0.0.1", "--bind-port", PORT, "--store", store]
    executor = [binaries / "tusk-executor", "--bind-host", "127.0.0.1", "--external-host", "127.0.0.1", "--store", store]
    executor += ["--scheduler-host", "127.0.0.1", "--scheduler-port", PORT, "--bind-port", PORT + 1]
    executor += ["--bind-grpc-port", PORT + 2, "--bind-health-port", PORT + 3, "--cache-dir", work, "--work-dir", work]
    processes = []
    try:
        for command, port in ((scheduler, PORT), (executor, PORT + 3)):
            log = subprocess.DEVNULL
            processes.append(subprocess.Popen([str(word) for word in command], stdout=log, stderr=log))
            wait_until_ready(processes[-1], port, command[0].name)
        time.sleep(IDLE_SECONDS)
        return [resident_mb(process) for process in processes]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=START_SECONDS)


def wait_until_ready(process, port, name):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"startup: {name} did not answer on port {port} within {START_SECONDS} s; is the port taken?")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--bin", type=pathlib.Path, default=BIN, help="folder of the binaries")
    args = parser.parse_args()
    tusk = args.bin / "tusk"
    with tempfile.TemporaryDirectory(prefix="tusk-startup-") as folder:
        folder = pathlib.Path(folder)
        images, store = folder / "images.parquet", folder / "store"
        run([tusk, "draw", images, "--images", 64])
        table = f"CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '{images}'"
        train = "CREATE MODEL m USING cnn OPTIONS (epochs = 1) TRAIN ON x"
        sql = [tusk, "sql", "--store", store, "-c"]
        run([*sql, f"{table}; {train}"])
        empty = nothing(folder)
        lines = [
            ("an empty program that links libtorch", median_ms(args.rounds, [empty]), "ms"),
            ("the same, without running libtorch's destructors", median_ms(args.rounds, [empty, "-"]), "ms"),
            ("tusk --version", median_ms(args.rounds, [tusk, "--version"]), "ms"),
            ("tusk sql -c 'SELECT 1'", median_ms(args.rounds, [*sql, "SELECT 1"]), "ms"),
            ("tusk sql -c 'SELECT predict(...) ... LIMIT 1'",
             median_ms(args.rounds, [*sql, f"{table}; SELECT predict('m', image) FROM x LIMIT 1"]), "ms"),
        ]
        scheduler, executor = idle(args.bin, folder)
    lines += [("scheduler, idle", scheduler, "MB"), ("executor, idle", executor, "MB")]
    print("| process | value |")
    print("|---|---|")
    for what, value, unit in lines:
        print(f"| {what} | {value:.0f} {unit} |")


if __name__ == "__main__":
    main()
