"""The libraries in the table of docs/cluster.md: each does what its row says."""

import os

import duckdb
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa
from IPython.core.interactiveshell import InteractiveShell

from cluster import create_model

# JupySQL sends nothing to its makers.
os.environ["PLOOMBER_STATS_ENABLED"] = "false"


@pytest.fixture
def connection(shared):
    with shared.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def model(shared):
    shared.rows(create_model("of_libraries", statement="CREATE OR REPLACE MODEL", epochs=1))
    return "of_libraries"


def predictions(model):
    return f"SELECT path, label, predict('{model}', image) AS predicted FROM xrays_test ORDER BY path"


def test_pandas_reads_queries_and_writes_tables(connection, model):
    frame = pd.read_sql(predictions(model), connection)
    assert len(frame) == 80 and set(frame.predicted) <= {"NORMAL", "PNEUMONIA"}
    assert frame.to_sql("judged", connection, index=False) == 80
    with pytest.raises(ValueError, match="exists"):
        frame.to_sql("judged", connection, index=False)
    assert frame.head(20).to_sql("judged", connection, index=False, if_exists="append") == 20
    assert pd.read_sql("SELECT count(*) AS n FROM judged", connection).n.tolist() == [100]
    assert frame.head(20).to_sql("judged", connection, index=False, if_exists="replace") == 20
    counted = pd.read_sql("SELECT count(*) AS n FROM judged JOIN xrays_test USING (path)", connection)
    assert counted.n.tolist() == [20]


def test_polars_reads_queries_with_parameters_and_writes_tables(connection):
    query = "SELECT path, label, width FROM xrays WHERE label = ? ORDER BY path"
    frame = pl.read_database(query, connection, execute_options={"parameters": ["NORMAL"]})
    assert frame.columns == ["path", "label", "width"] and set(frame["label"]) == {"NORMAL"}
    assert frame.write_database("normal", connection, engine="adbc") == len(frame)
    with pytest.raises(Exception, match="exists"):
        frame.write_database("normal", connection, engine="adbc")
    frame.write_database("normal", connection, engine="adbc", if_table_exists="append")
    assert pl.read_database("SELECT count(*) AS n FROM normal", connection)["n"].to_list() == [2 * len(frame)]
    frame.write_database("normal", connection, engine="adbc", if_table_exists="replace")
    back = pl.read_database("SELECT * FROM normal ORDER BY path", connection)
    assert back.equals(frame)


def test_duckdb_queries_the_rows_as_they_arrive(connection):
    with connection.cursor() as cursor, duckdb.connect() as local:
        cursor.execute("SELECT label, width FROM xrays")
        local.register("xrays", cursor.fetch_record_batch())
        counts = dict(local.sql("SELECT label, count(*) FROM xrays GROUP BY label").fetchall())
    assert set(counts) == {"NORMAL", "PNEUMONIA"} and sum(counts.values()) == 400


@pytest.fixture
def engine(shared):
    engine = sa.create_engine(f"adbc+flightsql://127.0.0.1:{shared.scheduler.port}?tls=false")
    yield engine
    engine.dispose()


def test_sqlalchemy_builds_statements_with_bound_parameters(engine, model):
    notes = sa.Table(
        "notes", sa.MetaData(), sa.Column("path", sa.String(200)), sa.Column("n", sa.Integer), sa.Column("x", sa.Float)
    )
    with engine.connect() as connection:
        notes.create(connection)
        rows = [{"path": "a", "n": 1, "x": 0.5}, {"path": "b", "n": 2, "x": None}]
        assert connection.execute(sa.insert(notes), rows).rowcount == 2
        connection.execute(sa.insert(notes).values(path="c", n=3, x=1.5))
        chosen = sa.select(notes.c.path).where(notes.c.n.in_([1, 3])).order_by(notes.c.n).limit(5)
        assert connection.execute(chosen).scalars().all() == ["a", "c"]
        count = sa.text("SELECT count(*) FROM xrays WHERE label IN (:one, :two)")
        assert connection.execute(count, {"one": "NORMAL", "two": "PNEUMONIA"}).scalar() == 400
        evaluated = sa.text(f"EVALUATE MODEL {model} ON (SELECT * FROM xrays_test LIMIT :rows)")
        assert connection.execute(evaluated, {"rows": 20}).mappings().one()["rows"] == 20
        inspector = sa.inspect(connection)
        assert inspector.has_table("notes") and not inspector.has_table("nowhere")
        assert {"path", "image", "label"} <= {column["name"] for column in inspector.get_columns("xrays")}
        frame = pd.read_sql(sa.select(notes).where(notes.c.n > 1), connection)
        assert frame.path.tolist() == ["b", "c"]


def test_jupysql_shows_rows_in_cells(connection, model):
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "sql")
    shell.run_line_magic("config", "SqlMagic.displaycon = False")
    shell.push({"tusk": connection})
    shell.run_line_magic("sql", "tusk --alias tusk")
    rows = shell.run_cell_magic("sql", "", predictions(model))
    assert len(rows) == 80 and list(rows.DataFrame().columns) == ["path", "label", "predicted"]
    epochs = shell.run_cell_magic("sql", "", create_model("of_a_cell", epochs=2))
    assert epochs.DataFrame().epoch.tolist() == [1, 2]
    shell.run_line_magic("sql", "--close tusk")
