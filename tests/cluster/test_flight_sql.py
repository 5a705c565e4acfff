"""The server as an ADBC driver sees it: statements, prepared statements, metadata."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster import REFUSED, create_model

FIGURES = ["accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "roc_auc"]


@pytest.fixture(scope="module")
def model(shared):
    """A trained model's name."""
    shared.rows(create_model("pneumonia", statement="CREATE OR REPLACE MODEL", epochs=2))
    return "pneumonia"


@pytest.fixture
def cursor(shared):
    with shared.connect() as connection, connection.cursor() as cursor:
        yield cursor


def test_create_model_gives_a_row_per_epoch_as_they_finish(cursor):
    cursor.execute(create_model("streamed", epochs=4))
    reader = cursor.fetch_record_batch()
    assert reader.schema.names == [
        "model", "epoch", "train_loss", "val_loss", "val_accuracy", "val_roc_auc",
        "learning_rate", "images", "skipped", "workers", "seconds",
    ]  # fmt: skip
    arrived = []
    for batch in reader:
        for row in batch.to_pylist():
            arrived.append((row["epoch"], time.monotonic()))
    assert [epoch for epoch, _ in arrived] == [1, 2, 3, 4]
    assert arrived[-1][1] - arrived[0][1] > 0.3, "the rows came all at once"


def test_the_table_of_a_create_model_can_be_fetched_whole(cursor):
    table = cursor.execute(create_model("whole", epochs=2)).fetch_arrow_table()
    assert table.num_rows == 2
    assert table.column("workers").to_pylist() == [2, 2]


def test_the_statements_about_models(shared, model):
    (shown,) = [row for row in shared.rows("SHOW MODELS") if row["model"] == model]
    assert (shown["architecture"], shown["epochs"]) == ("cnn", 2)
    described = {row["property"]: row["value"] for row in shared.rows(f"DESCRIBE MODEL {model}")}
    assert described["classes"] == "NORMAL, PNEUMONIA"
    training = shared.training(model)
    assert (training["status"], training["epoch"], training["active"]) == ("finished", 2, False)
    (evaluation,) = shared.rows(f"EVALUATE MODEL {model} ON xrays_test")
    assert evaluation["rows"] == 80
    for figure in FIGURES:
        low, value, high = (evaluation[f"{figure}{suffix}"] for suffix in ("_low", "", "_high"))
        assert low is None or low <= value <= high, figure
    (evaluation,) = shared.rows(f"EVALUATE MODEL {model} ON (SELECT * FROM xrays_test LIMIT 20)")
    assert evaluation["rows"] == 20
    plan = "\n".join(str(row) for row in shared.rows("EXPLAIN " + create_model("unseen")))
    assert "TrainExec" in plan
    assert shared.rows(create_model(model, statement="CREATE MODEL IF NOT EXISTS")) == []
    with pytest.raises(REFUSED, match="exists"):
        shared.rows(create_model(model))


def test_a_model_that_is_dropped_is_gone(shared):
    shared.rows(create_model("short", epochs=1))
    shared.rows("DROP MODEL short")
    assert "short" not in {row["model"] for row in shared.rows("SHOW MODELS")}
    shared.rows("DROP MODEL IF EXISTS short")
    with pytest.raises(REFUSED, match="short"):
        shared.rows("DROP MODEL short")


def test_predictions_work_in_any_query(shared, model):
    rows = shared.rows(
        f"""SELECT label, predict('{model}', image) AS predicted, predict_proba('{model}', image, 'PNEUMONIA') AS p
            FROM xrays_test ORDER BY path"""
    )
    assert len(rows) == 80
    assert {row["predicted"] for row in rows} <= {"NORMAL", "PNEUMONIA"}
    assert all(0 <= row["p"] <= 1 for row in rows)
    auc = shared.value(
        f"SELECT roc_auc(label, predict_proba('{model}', image, 'PNEUMONIA'), 'PNEUMONIA') FROM xrays_test"
    )
    assert 0 <= auc <= 1
    info = shared.rows("SELECT image_info(image) AS info FROM xrays LIMIT 1")[0]["info"]
    assert (info["width"], info["height"]) == (96, 96)


def test_images_arrive_byte_for_byte(cursor, data):
    cursor.execute("SELECT path, image FROM xrays_test ORDER BY path")
    mine = cursor.fetch_arrow_table().cast(pa.schema([("path", pa.string()), ("image", pa.binary())]))
    theirs = pq.read_table(data / "xrays_test.parquet", columns=["path", "image"]).sort_by("path")
    assert mine.to_pylist() == theirs.to_pylist()


def test_prepared_statements_take_parameters_and_run_again(cursor):
    sql = "SELECT count(*) FROM xrays WHERE label = $1"
    counts = []
    for label in ("NORMAL", "PNEUMONIA", "NONE"):
        cursor.execute(sql, parameters=[label])
        counts.append(cursor.fetchone()[0])
    assert sum(counts) == 400 and counts[2] == 0 and min(counts[:2]) > 0


def test_a_prepared_query_tells_its_columns_before_it_runs(cursor):
    schema = cursor.adbc_execute_schema("SELECT label, count(*) AS n FROM xrays GROUP BY label")
    assert schema.names == ["label", "n"]
    schema = cursor.adbc_execute_schema(create_model("never_trained"))
    assert schema.names[:2] == ["model", "epoch"]


def test_drivers_are_told_who_the_server_is(shared):
    with shared.connect() as connection:
        info = connection.adbc_get_info()
        assert info["vendor_name"] == "Tusk"
        assert info["vendor_version"]
        assert "TABLE" in connection.adbc_get_table_types()


def test_drivers_find_catalogs_schemas_tables_and_columns(shared):
    with shared.connect() as connection:
        found = connection.adbc_get_objects(depth="all", table_name_filter="xrays").read_all().to_pylist()
        tables = [
            table
            for catalog in found
            for schema in catalog["catalog_db_schemas"] or []
            for table in schema["db_schema_tables"] or []
        ]
        assert [(table["table_name"], table["table_type"]) for table in tables] == [("xrays", "TABLE")]
        columns = {column["column_name"] for column in tables[0]["table_columns"]}
        assert {"path", "image", "label", "group"} <= columns
        schema = connection.adbc_get_table_schema("xrays")
        assert {"path", "image", "label"} <= set(schema.names)


def test_information_schema_and_show_tables_agree(shared):
    listed = {row["table_name"] for row in shared.rows("SHOW TABLES") if row["table_schema"] == "public"}
    named = shared.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert listed == {row["table_name"] for row in named} == {"xrays", "xrays_test"}


def test_a_table_made_by_a_client_can_be_trained_on_in_its_session(cursor):
    cursor.execute("CREATE TABLE some_rows AS SELECT * FROM xrays WHERE width = 96 LIMIT 300")
    cursor.fetchall()
    cursor.execute("SELECT count(*) FROM some_rows")
    assert cursor.fetchone() == (300,)
    cursor.execute(create_model("of_some", on="some_rows", epochs=1))
    assert len(cursor.fetchall()) == 1


def test_a_large_result_streams_through(cursor):
    cursor.execute("SELECT a.path, b.image FROM xrays_test a CROSS JOIN xrays_test b")
    rows = bytes_ = 0
    for batch in cursor.fetch_record_batch():
        rows += batch.num_rows
        bytes_ += batch.nbytes
    assert rows == 6400 and bytes_ > 10_000_000


def test_an_error_leaves_the_connection_usable(cursor):
    with pytest.raises(REFUSED, match="line 1, column 8|SELEKT|syntax"):
        cursor.execute("SELEKT 1")
    cursor.execute("SELECT 1")
    assert cursor.fetchall() == [(1,)]
