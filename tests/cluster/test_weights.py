"""Weights to start from that lie on a web server."""

import contextlib
import http.server
import ssl
import threading

import pytest

from cluster import REFUSED, create_model

# The largest file that is read.
WEIGHTS_BYTES_MAX = 6 << 30

QUICK = {"image_size": 32, "epochs": 1, "workers": 1, "averages_per_epoch": None}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what its server has under a path: a status, headers and a body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {"Content-Length": 0}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def serving(certificates=None):
    """A server, over TLS where it has certificates."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = {}, []
    server.url = f"{'https' if certificates else 'http'}://127.0.0.1:{server.server_port}"
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "node.pem", certificates / "node.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def web(certificates):
    with serving(certificates) as server:
        yield server


@pytest.fixture
def cluster(new_cluster, certificates):
    """One executor, and a scheduler that trusts the servers of these tests."""
    return new_cluster(executors=1, env={"SSL_CERT_FILE": str(certificates / "ca.pem"), "NO_PROXY": "127.0.0.1"})


def test_weights_on_a_web_server_are_those_of_the_file(cluster, web):
    cluster.rows(create_model("first", **QUICK))
    file = cluster.store / cluster.manifest("first")["weights"]["path"]
    data = file.read_bytes()
    web.answers["/nets/my%20net.safetensors"] = (200, {"Content-Length": len(data)}, data)
    for name, location in [("local", file), ("remote", f"{web.url}/nets/my%20net.safetensors")]:
        cluster.rows(create_model(name, weights=f"'{location}'", **QUICK))
    assert set(web.asked) == {"/nets/my%20net.safetensors"}
    assert cluster.weights_sha256("remote") == cluster.weights_sha256("local") != cluster.weights_sha256("first")


def test_what_a_web_server_must_not_answer_is_refused_with_the_reason(cluster, web):
    with serving() as plain:
        # Of a body that would be too large not a byte comes: who reads it is told that the connection was closed.
        web.answers["/large"] = (200, {"Content-Length": WEIGHTS_BYTES_MAX + 1}, b"")
        web.answers["/endless"] = (200, {"Transfer-Encoding": "chunked"}, b"4\r\nbyte\r\n0\r\n\r\n")
        web.answers["/moved"] = (302, {"Location": f"{plain.url}/net", "Content-Length": 0}, b"")
        plain.answers["/net"] = (200, {"Content-Length": 4}, b"byte")
        for location, reason in [
            (f"{web.url}/large", f"it has {WEIGHTS_BYTES_MAX + 1} bytes; the maximum is {WEIGHTS_BYTES_MAX}"),
            (f"{web.url}/endless", "Content-Length"),
            (f"{web.url}/none", "not found"),
            (f"{web.url}/moved", "redirect"),
            (f"{plain.url}/net", "use https://"),
        ]:
            with pytest.raises(REFUSED) as refusal:
                cluster.rows(create_model("m", weights=f"'{location}'", **QUICK))
            assert f"weights = '{location}' cannot be read: " in str(refusal.value)
            assert reason in str(refusal.value)
        assert web.asked == ["/large", "/endless", "/none", "/moved"]
        assert plain.asked == [], "what anyone on the way can change was asked for"
