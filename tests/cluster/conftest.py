"""What the tests share: drawn X-rays, clusters, and the model that an undisturbed run gives."""

import itertools
import subprocess

import pytest

from cluster import BIN, Cluster, create_model

IMAGES = 400
TEST_IMAGES = 80


def pytest_sessionstart(session):
    missing = [name for name in ("tusk", "tusk-scheduler", "tusk-executor") if not (BIN / name).exists()]
    if missing:
        pytest.exit(f"{BIN} lacks {', '.join(missing)}. Run `make build`, or set TUSK_BIN.", returncode=2)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with drawn X-rays: the tables xrays and xrays_test."""
    folder = tmp_path_factory.mktemp("data")
    for name, images, seed in [("xrays", IMAGES, 42), ("xrays_test", TEST_IMAGES, 43)]:
        out = folder / f"{name}.parquet"
        command = [BIN / "tusk", "draw", out, "--images", str(images), "--seed", str(seed), "--size", "96"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def new_cluster(request, tmp_path, data):
    """Makes clusters; prints their logs when the test fails, and ends them."""
    made = []
    numbers = itertools.count(1)

    def make(executors=2, data=data, **options):
        cluster = Cluster(tmp_path / f"cluster-{next(numbers)}", data, executors, **options)
        made.append(cluster)
        return cluster.__enter__()

    yield make
    failed = getattr(request.node, "failed", True)
    for cluster in made:
        cluster.__exit__(AssertionError if failed else None, None, None)


@pytest.fixture
def cluster(new_cluster):
    """A scheduler and two executors with one device each."""
    return new_cluster()


def openssl(*words, cwd):
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, and certificates of it for a node and a stranger's own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    for ca in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", cwd=folder)  # fmt: skip
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "node.key",
            "-out", "node.csr", "-subj", "/CN=localhost", cwd=folder)  # fmt: skip
    (folder / "ext").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    openssl("x509", "-req", "-in", "node.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "node.pem", cwd=folder)  # fmt: skip
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed = report.failed
    elif report.failed:
        item.failed = True


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, data):
    """The SHA-256 of the weights that an undisturbed run of `create_model(.., **options)` gives."""
    known = {}
    folder = tmp_path_factory.mktemp("undisturbed")
    with Cluster(folder / "cluster", data) as cluster:

        def weights(**options):
            key = tuple(sorted(options.items()))
            if key not in known:
                name = f"reference_{len(known)}"
                cluster.rows(create_model(name, **options))
                known[key] = cluster.weights_sha256(name)
            return known[key]

        yield weights


@pytest.fixture(scope="session")
def shared(tmp_path_factory, data):
    """A cluster for tests that hurt nothing."""
    with Cluster(tmp_path_factory.mktemp("shared") / "cluster", data) as cluster:
        yield cluster
