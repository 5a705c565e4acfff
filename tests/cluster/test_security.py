"""Who may do what, over what line."""

import contextlib
import subprocess

import pytest
from adbc_driver_flightsql import DatabaseOptions

from cluster import BIN, REFUSED, create_model, free_ports, wait_for

PASSWORD = "correct horse battery staple"


def secret(flag, text=""):
    """What one of the scheduler's flags for secrets prints, by line."""
    done = subprocess.run([BIN / "tusk-scheduler", flag], input=text, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """A users' file, and the token of the user who may only query."""
    (password,) = secret("--hash-password", PASSWORD + "\n")
    digest, *_, token = secret("--new-token")
    file = tmp_path_factory.mktemp("users") / "users.toml"
    file.write_text(
        f'[users.alice]\n{password}\nrights = ["query", "train"]\n\n[users.report]\n{digest}\nrights = ["query"]\n'
    )
    return file, token.strip("# ")


def header(token):
    return {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}


def test_users_have_their_rights_and_no_others(new_cluster, users):
    file, token = users
    cluster = new_cluster(scheduler_flags=[f"--users={file}"])
    with cluster.connect(username="alice", password=PASSWORD) as alice, alice.cursor() as cursor:
        cursor.execute(create_model("m", epochs=1))
        assert len(cursor.fetchall()) == 1
    with cluster.connect(**header(token)) as report, report.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM xrays")
        assert cursor.fetchall() == [(400,)]
        cursor.execute("SHOW MODELS")
        assert len(cursor.fetchall()) == 1
        for sql in (create_model("n", epochs=1), "DROP MODEL m", "CANCEL TRAINING m", "CREATE TABLE t AS SELECT 1"):
            with pytest.raises(REFUSED, match="right"):
                cursor.execute(sql)
                cursor.fetchall()
    strangers = [
        {},
        {"username": "alice", "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        header("tusk-" + "0" * 64),
    ]
    for options in strangers:
        with pytest.raises(REFUSED), cluster.connect(**options) as stranger, stranger.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()
    shown = str(cluster_rows(cluster, token, "SHOW MODELS"))
    for text in (shown, cluster.scheduler.log_text(), *(e.log_text() for e in cluster.executors)):
        assert PASSWORD not in text and token not in text and "argon2" not in text


def test_an_evaluation_is_kept_only_for_a_user_who_may_train(new_cluster, users):
    file, token = users
    cluster = new_cluster(scheduler_flags=[f"--users={file}"])
    record = cluster.store / "models" / "m" / "evaluation-shortcuts.json"
    evaluate = "EVALUATE MODEL m ON xrays OPTIONS (show = 'shortcuts')"
    with cluster.connect(username="alice", password=PASSWORD) as alice, alice.cursor() as cursor:
        cursor.execute(create_model("m", epochs=1))
        cursor.fetchall()
        assert cluster_rows(cluster, token, evaluate)
        assert not record.exists()
        cursor.execute(evaluate)
        assert cursor.fetchall()
        assert record.exists()
    assert "Uses of nuisances (xrays, 400 rows" in str(cluster_rows(cluster, token, "DESCRIBE MODEL m CARD"))


def cluster_rows(cluster, token, sql):
    with cluster.connect(**header(token)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_everything_goes_over_tls_when_it_is_set_up_and_a_stranger_is_refused(new_cluster, certificates):
    pem = {name: (certificates / f"{name}.pem").read_text() for name in ("ca", "stranger", "node")}
    key = (certificates / "node.key").read_text()
    tls = [f"--tls-cert={certificates / 'node.pem'}", f"--tls-key={certificates / 'node.key'}"]
    cluster = new_cluster(
        ca=certificates / "ca.pem",
        scheduler_flags=[*tls, f"--tls-client-ca={certificates / 'ca.pem'}", "--external-host=localhost"],
        executor_flags=[
            *tls,
            f"--tls-ca={certificates / 'ca.pem'}",
            "--scheduler-host=localhost",
            "--external-host=localhost",
        ],
    )
    uri = f"grpc+tls://localhost:{cluster.scheduler.port}"
    options = {
        "uri": uri,
        DatabaseOptions.TLS_ROOT_CERTS.value: pem["ca"],
        DatabaseOptions.MTLS_CERT_CHAIN.value: pem["node"],
        DatabaseOptions.MTLS_PRIVATE_KEY.value: key,
    }
    with cluster.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute(create_model("m", epochs=1))
        assert len(cursor.fetchall()) == 1
        cursor.execute("SELECT count(*) FROM xrays")
        assert cursor.fetchall() == [(400,)]
    for wrong in ({"uri": f"grpc://localhost:{cluster.scheduler.port}"},
                  options | {DatabaseOptions.TLS_ROOT_CERTS.value: pem["stranger"]}):  # fmt: skip
        with pytest.raises(REFUSED), cluster.connect(**wrong) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()


def test_without_tls_or_users_only_this_machine_is_listened_to_and_the_log_says_so(tmp_path, data):
    def start(*flags):
        (port,) = free_ports(1)
        command = [BIN / "tusk-scheduler", f"--bind-port={port}", f"--store={tmp_path}/store", f"--data={data}", *flags]
        log = tmp_path / f"{port}.log"
        return subprocess.Popen(command, stdout=open(log, "wb"), stderr=subprocess.STDOUT), port, log

    def listens_on(port):
        out = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True).stdout
        return {line.split()[3].rsplit(":", 1)[0] for line in out.splitlines()}

    with contextlib.ExitStack() as stack:
        process, port, log = start()
        stack.callback(process.kill)
        wait_for("the scheduler to listen", lambda: listens_on(port), 30)
        assert listens_on(port) <= {"127.0.0.1", "[::1]"}
        assert "loopback" in log.read_text().lower() or "127.0.0.1" in log.read_text()
        process, port, log = start("--bind-host=0.0.0.0")
        stack.callback(process.kill)
        wait_for(
            "a refusal, or a listener on loopback only", lambda: process.poll() is not None or listens_on(port), 30
        )
        assert process.poll() is not None or listens_on(port) <= {"127.0.0.1", "[::1]"}
        assert "--insecure-listen" in log.read_text()
        process, port, log = start("--bind-host=0.0.0.0", "--insecure-listen")
        stack.callback(process.kill)
        wait_for("the scheduler to listen", lambda: listens_on(port), 30)
        assert listens_on(port) & {"0.0.0.0", "*"}
