"""What an ADBC driver does beside queries: parameters, tables of its own rows, settings, limits, errors."""

import datetime
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_flightsql import dbapi as adbc

from cluster import REFUSED, create_model

# The largest message that the scheduler sends. Drivers expect at most 16 MiB if nobody tells them.
LARGE_MESSAGES = {DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(512 << 20)}


@pytest.fixture
def connection(shared):
    with shared.connect() as connection:
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


def run(cursor, sql, parameters=None):
    """The rows of a statement."""
    return cursor.execute(sql, parameters).fetchall()


def sqlstate(error):
    """The SQLSTATE in an error's details."""
    details = b"".join(value if isinstance(value, bytes) else value.encode() for _, value in error.details)
    (found,) = re.findall(rb"sqlstate\x12\x05(.{5})", details)
    return found.decode()


# Parameters


def test_parameters_are_question_marks_or_numbers(cursor):
    marks = run(cursor, "SELECT count(*) FROM xrays WHERE label = ? AND width >= ?", ["NORMAL", 1])
    numbers = run(cursor, "SELECT count(*) FROM xrays WHERE width >= $2 AND label = $1", ["NORMAL", 1])
    assert marks == numbers and 0 < marks[0][0] < 400
    assert len(run(cursor, "SELECT path FROM xrays ORDER BY path LIMIT ?", [3])) == 3
    assert run(cursor, "SELECT ?, ?, ?, ?", [None, b"\x00\xff", 1.5, "it's"]) == [(None, b"\x00\xff", 1.5, "it's")]


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        ("SELECT ?, $1", [1], "but not both"),
        ("SELECT ?", None, "no values are bound"),
        ("SELECT ?", [1, 2], "1 parameters and 2 values"),
        ("SELECT ?, ?", [1], "2 parameters and 1 values"),
    ],
)
def test_parameters_without_values_or_of_two_kinds_are_refused(cursor, sql, parameters, message):
    with pytest.raises(REFUSED, match=message):
        run(cursor, sql, parameters)


def test_a_prepared_statement_tells_its_parameters(cursor):
    schema = cursor.adbc_prepare("SELECT * FROM xrays WHERE label = $1 AND width = $2")
    assert schema.names == ["$1", "$2"]
    schema = cursor.adbc_prepare("EVALUATE MODEL m ON (SELECT * FROM xrays_test LIMIT ?)")
    assert schema.names == ["$1"]


def test_executemany_inserts_python_numbers_into_columns_of_any_type(cursor):
    run(cursor, "CREATE TABLE people (id INT, name VARCHAR, share FLOAT, born DATE)")
    people = [(1, "a", 0.5, datetime.date(2020, 1, 2)), (2, None, 1, None), (3, "c", None, datetime.date(1999, 1, 1))]
    cursor.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", people)
    assert cursor.rowcount == 3
    # The rows are there although nobody fetched the result.
    cursor.execute("INSERT INTO people (born, id) VALUES (?, ?)", [None, 4])
    table = cursor.execute("SELECT * FROM people ORDER BY id").fetch_arrow_table()
    assert table.schema.field("id").type == pa.int32()
    assert [tuple(row.values()) for row in table.to_pylist()] == [*people, (4, None, None, None)]
    # A number that does not fit is refused, and with it all rows of the request.
    with pytest.raises(REFUSED, match="3000000000") as refused:
        cursor.executemany("INSERT INTO people (id) VALUES (?)", [(5,), (3_000_000_000,)])
    assert sqlstate(refused.value) == "22003"
    assert run(cursor, "SELECT count(*) FROM people") == [(4,)]


def test_executemany_runs_other_statements_once_per_row(cursor):
    run(cursor, "CREATE TABLE numbers (n INT)")
    cursor.executemany("INSERT INTO numbers SELECT ? * x FROM (VALUES (1), (2)) AS t(x)", [(1,), (10,)])
    assert cursor.rowcount == 4
    assert run(cursor, "SELECT sum(n) FROM numbers") == [(33,)]


def test_parameters_stand_inside_train_on_and_evaluate(cursor):
    model = create_model("of_parameters", on="(SELECT * FROM xrays WHERE width >= ? AND label IN (?, ?))", epochs=1)
    assert len(run(cursor, model, [1, "NORMAL", "PNEUMONIA"])) == 1
    cursor.execute("EVALUATE MODEL of_parameters ON (SELECT * FROM xrays_test LIMIT $1)", [20])
    assert cursor.fetch_arrow_table().column("rows").to_pylist() == [20]


# Tables of the client's rows

ROWS = pa.table({"label": ["a", "b"], "n": pa.array([1, 2], pa.int32())})


def test_rows_are_ingested_in_every_mode(cursor):
    def count(table):
        return run(cursor, f"SELECT count(*), sum(n) FROM {table}")[0]

    assert cursor.adbc_ingest("sent", ROWS) == 2
    with pytest.raises(REFUSED, match="exists") as refused:
        cursor.adbc_ingest("sent", ROWS)
    assert sqlstate(refused.value) == "42P07"
    assert cursor.adbc_ingest("sent", ROWS, mode="append") == 2
    assert count("sent") == (4, 6)
    assert cursor.adbc_ingest("sent", ROWS, mode="replace") == 2
    assert count("sent") == (2, 3)
    for expected in ((2, 3), (4, 6)):
        cursor.adbc_ingest("made", ROWS, mode="create_append", temporary=True)
        assert count("made") == expected
    with pytest.raises(REFUSED, match="not found") as refused:
        cursor.adbc_ingest("missing", ROWS, mode="append")
    assert sqlstate(refused.value) == "42P01"
    # Names are exact, as in pandas and polars.
    cursor.adbc_ingest("Of Two Words", ROWS, catalog_name="datafusion", db_schema_name="public")
    assert count('"Of Two Words"') == (2, 3)
    with pytest.raises(REFUSED, match="nowhere"):
        cursor.adbc_ingest("sent", ROWS, db_schema_name="nowhere")


def test_appended_columns_are_matched_by_name(cursor):
    cursor.adbc_ingest("matched", ROWS)
    others = pa.table({"n": pa.array([3], pa.int64()), "label": ["c"]})
    cursor.adbc_ingest("matched", others, mode="append")
    cursor.adbc_ingest("matched", pa.table({"n": [4]}), mode="append")
    assert run(cursor, "SELECT n, label FROM matched ORDER BY n")[2:] == [(3, "c"), (4, None)]
    with pytest.raises(REFUSED, match="no column 'x'; its columns are label, n"):
        cursor.adbc_ingest("matched", pa.table({"n": [5], "x": [1]}), mode="append")
    with pytest.raises(REFUSED, match="two columns 'n'"):
        cursor.adbc_ingest("repeated", pa.table([[1], [2]], names=["n", "n"]))
    assert run(cursor, "SELECT count(*) FROM matched") == [(4,)]


def test_an_upload_that_breaks_off_changes_nothing(cursor):
    cursor.adbc_ingest("kept", ROWS)

    def batches():
        yield from ROWS.to_batches()
        raise ValueError("the client's source fails")

    for mode in ("append", "replace"):
        with pytest.raises((ValueError, *REFUSED)):
            cursor.adbc_ingest("kept", pa.RecordBatchReader.from_batches(ROWS.schema, batches()), mode=mode)
    assert run(cursor, "SELECT count(*) FROM kept") == [(2,)]


def test_columns_of_every_kind_come_back_as_they_were_sent(cursor):
    sent = pa.table(
        {
            "place": [0, 1],
            "list": pa.array([[1, None], None], pa.large_list(pa.int64())),
            "struct": [{"a": 1, "b": "x"}, None],
            "bytes": [b"\x00", None],
            "time": pa.array([datetime.datetime(2020, 1, 2, 3, 4, 5), None], pa.timestamp("us")),
            "view": pa.array(["a string of more than twelve bytes", None], pa.string_view()),
            "word": pa.array(["a", None]).dictionary_encode(),
        }
    )
    cursor.adbc_ingest("kinds", sent)
    found = cursor.execute("SELECT * FROM kinds ORDER BY place").fetch_arrow_table()
    assert found.to_pylist() == sent.to_pylist()
    assert found.schema.field("list").type == pa.large_list(pa.int64())


def test_an_ingested_table_trains_the_same_model_as_its_file(cursor, shared, data):
    assert cursor.adbc_ingest("uploaded", pq.read_table(data / "xrays.parquet")) == 400
    for name, table in (("of_file", "xrays"), ("of_rows", "uploaded")):
        assert len(run(cursor, create_model(name, on=table, epochs=1))) == 1
    assert shared.weights_sha256("of_file") == shared.weights_sha256("of_rows")


# Rows


def test_dictionaries_and_large_lists_are_read(cursor):
    cursor.execute("SELECT arrow_cast('a', 'Dictionary(Int32, Utf8)') AS d, arrow_cast([1, 2], 'LargeList(Int64)') AS l")
    table = cursor.fetch_arrow_table()
    assert table.to_pylist() == [{"d": "a", "l": [1, 2]}]
    assert pa.types.is_large_list(table.schema.field("l").type)
    cursor.execute("SELECT arrow_cast(label, 'Dictionary(Int32, Utf8)') AS d FROM xrays")
    assert set(cursor.fetch_arrow_table().column("d").to_pylist()) == {"NORMAL", "PNEUMONIA"}


@pytest.mark.timeout(400)
def test_a_cell_of_256_mib_makes_the_way_there_and_back(shared):
    cell = bytes(range(256)) * (1 << 20)
    with shared.connect(**LARGE_MESSAGES) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("large", pa.table({"id": [1, 2], "cell": pa.array([b"small", cell], pa.large_binary())}))
        cursor.execute("SELECT id, cell FROM large ORDER BY id")
        small, large = cursor.fetch_arrow_table().column("cell").to_pylist()
        assert small == b"small" and large == cell
    with shared.connect() as connection, connection.cursor() as cursor, pytest.raises(REFUSED, match="larger than max"):
        cursor.adbc_ingest("large", pa.table({"cell": [cell]}))


# Settings


def test_the_current_catalog_and_schema_are_told_and_set(connection, cursor):
    assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("datafusion", "public")
    run(cursor, "CREATE SCHEMA mine")
    connection.adbc_current_db_schema = "mine"
    assert connection.adbc_current_db_schema == "mine"
    run(cursor, "CREATE TABLE t AS SELECT 7 AS a")
    cursor.adbc_ingest("sent", ROWS)
    assert run(cursor, "SELECT a FROM mine.t") == [(7,)]
    assert run(cursor, "SELECT count(*) FROM mine.sent") == [(2,)]
    with pytest.raises(REFUSED, match="xrays"):
        run(cursor, "SELECT count(*) FROM xrays")
    assert run(cursor, "SELECT count(*) FROM public.xrays") == [(400,)]
    for wrong in ({"adbc_current_db_schema": "nowhere"}, {"adbc_current_catalog": "nowhere"}):
        with pytest.raises(REFUSED, match="invalid value"):
            for name, value in wrong.items():
                setattr(connection, name, value)
    assert connection.adbc_current_db_schema == "mine"
    connection.adbc_current_db_schema = "public"
    assert run(cursor, "SELECT count(*) FROM xrays") == [(400,)]


def test_the_driver_has_no_statistics(connection):
    """If this fails, the driver has learned to ask for them, and the scheduler can answer."""
    with pytest.raises(adbc.NotSupportedError):
        connection.adbc_get_statistics()


@pytest.mark.parametrize("sql", ["BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT s"])
def test_transactions_are_refused(cursor, sql):
    with pytest.raises(adbc.NotSupportedError, match="no transactions") as refused:
        cursor.execute(sql)
    assert sqlstate(refused.value) == "0A000"


def test_a_driver_that_wants_transactions_is_told_and_connects(shared):
    with pytest.warns(Warning, match="autocommit"):
        connection = adbc.connect(f"grpc://127.0.0.1:{shared.scheduler.port}")
    with connection, connection.cursor() as cursor:
        assert run(cursor, "SELECT 1") == [(1,)]


# What is kept


def test_the_oldest_of_257_prepared_statements_makes_room(connection):
    cursors = [connection.cursor() for _ in range(257)]
    for cursor in cursors:
        cursor.adbc_prepare("SELECT 1")
    for cursor in cursors[1:]:
        assert run(cursor, "SELECT 1") == [(1,)]
    with pytest.raises(REFUSED, match="no such prepared statement: .* Prepare it again") as refused:
        cursors[0].execute("SELECT 1")
    assert sqlstate(refused.value) == "26000"
    assert run(cursors[0], "SELECT 2") == [(2,)]


def test_rows_that_nobody_fetches_make_room(cursor):
    tickets = [cursor.adbc_execute_partitions("SELECT 1")[0][0] for _ in range(257)]
    cursor.adbc_read_partition(tickets[-1])
    assert cursor.fetchall() == [(1,)]
    with pytest.raises(REFUSED, match="the rows of this statement are gone: .* Run the statement again"):
        cursor.adbc_read_partition(tickets[0])
        cursor.fetchall()


def test_a_closed_connection_closes_its_session(shared):
    def sessions():
        return shared.scheduler.metric("tusk_scheduler_sql_sessions")

    before = sessions()
    for _ in range(20):
        shared.value("SELECT 1")
    assert sessions() <= before + 1


# Errors


@pytest.mark.parametrize(
    ("sql", "kind", "state"),
    [
        ("SELEKT 1", adbc.ProgrammingError, "42601"),
        ("EVALUATE m", adbc.ProgrammingError, "42601"),
        ("SELECT * FROM nowhere", adbc.ProgrammingError, "42P01"),
        ("SELECT nothing FROM xrays", adbc.ProgrammingError, "42703"),
        ("SELECT nothing(path) FROM xrays", adbc.ProgrammingError, "42883"),
        ("DROP MODEL nothing", adbc.ProgrammingError, "42704"),
        ("SELECT 1 / 0", adbc.OperationalError, "22012"),
        # On an executor, after the first message of the rows.
        ("SELECT 1 / (width - 96) FROM xrays", adbc.OperationalError, "22012"),
        ("SELECT CAST(path AS INT) FROM xrays", adbc.ProgrammingError, "22P02"),
    ],
)
def test_errors_tell_their_kind(cursor, sql, kind, state):
    with pytest.raises(kind) as refused:
        cursor.execute(sql)
        cursor.fetch_arrow_table()
    assert sqlstate(refused.value) == state
