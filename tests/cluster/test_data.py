"""Rows that cannot be trained on."""

import pathlib
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import REFUSED, create_model


@pytest.fixture
def poisoned(data, tmp_path):
    """The data with one image that is none."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    table = pq.read_table(folder / "xrays.parquet")
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    columns["image"][7] = b"this is no image"
    columns["path"][7] = "PNEUMONIA/person9999_1.jpeg"
    pq.write_table(pa.table(columns, schema=table.schema), folder / "xrays.parquet")
    return folder


def test_a_poisoned_image_fails_the_run_within_its_retries_and_is_named(new_cluster, poisoned):
    cluster = new_cluster(data=poisoned)
    with pytest.raises(REFUSED, match="person9999_1.jpeg") as failure:
        cluster.rows(create_model("m", max_bad_fraction=0))
    assert "max_bad_fraction" in str(failure.value)
    assert "person9999_1.jpeg" in cluster.scheduler.log_text()
    assert all(executor.is_running() for executor in cluster.executors)


def test_a_poisoned_image_is_counted_and_skipped_where_it_is_allowed(new_cluster, poisoned):
    cluster = new_cluster(data=poisoned)
    rows = cluster.rows(create_model("m", epochs=1))
    assert rows[0]["skipped"] == 1
    found = cluster.rows("SELECT path FROM xrays WHERE predict('m', image) IS NULL")
    assert [pathlib.PurePath(row["path"]).name for row in found] == ["person9999_1.jpeg"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE MODEL m USING cnn OPTIONS (epoch = 3) TRAIN ON xrays", "epochs"),
        ("CREATE MODEL m TRAIN FROM xrays", "expected ON"),
        ("CREATE MODEL m TRAIN ON nothing_here", "nothing_here"),
        ("SELECT no_such_column FROM xrays", "no_such_column"),
        ("EVALUATE MODEL absent ON xrays", "absent"),
        ("DESCRIBE MODEL absent", "absent"),
        ("CANCEL TRAINING absent", "absent"),
    ],
)
def test_a_statement_that_cannot_be_run_says_why(shared, sql, words):
    with pytest.raises(REFUSED, match=words):
        shared.rows(sql)
