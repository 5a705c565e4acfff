"""Queries whose stages are cut into several tasks give the rows that one process would."""

import pytest

from conftest import IMAGES, TEST_IMAGES

FIRST = "SELECT path FROM (SELECT path FROM xrays ORDER BY path LIMIT {})"


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        (f"{FIRST.format(1)} UNION ALL {FIRST.format(2)}", 3),
        (f"{FIRST.format(1)} UNION ALL {FIRST.format(2)} UNION ALL {FIRST.format(3)} ORDER BY path", 6),
        (f"{FIRST.format(1)} UNION {FIRST.format(2)}", 2),
        (f"SELECT path, s.seed FROM ({FIRST.format(2)}) CROSS JOIN (VALUES (1), (2)) AS s(seed) UNION ALL "
         f"SELECT path, s.seed FROM ({FIRST.format(1)}) CROSS JOIN (VALUES (0)) AS s(seed) ORDER BY path, seed", 5),
        ("SELECT path FROM xrays UNION ALL SELECT path FROM xrays_test", IMAGES + TEST_IMAGES),
        ("SELECT path FROM xrays UNION ALL SELECT path FROM xrays_test ORDER BY path", IMAGES + TEST_IMAGES),
        ("SELECT path FROM (SELECT path FROM xrays UNION ALL SELECT path FROM xrays_test) ORDER BY path LIMIT 7", 7),
    ],
)  # fmt: skip
def test_a_union_gives_every_row_of_its_branches_once(shared, sql, rows):
    assert len(shared.rows(sql)) == rows


def test_figures_of_a_union_are_those_of_its_branches(shared):
    counts = shared.rows("SELECT count(*) AS n FROM xrays UNION ALL SELECT count(*) FROM xrays_test ORDER BY n")
    assert [row["n"] for row in counts] == [TEST_IMAGES, IMAGES]
    by_label = "SELECT label, count(*) AS n FROM {} GROUP BY label"
    labels = shared.rows(f"{by_label.format('xrays')} UNION ALL {by_label.format('xrays_test')} ORDER BY n")
    assert sum(row["n"] for row in labels) == IMAGES + TEST_IMAGES and len(labels) == 4
    whole = "SELECT count(*) AS n, count(DISTINCT path) AS paths FROM (SELECT path FROM {} UNION ALL SELECT path FROM {})"
    assert shared.rows(whole.format("xrays", "xrays")) == [{"n": 2 * IMAGES, "paths": IMAGES}]
    joined = "SELECT count(*) AS n FROM (SELECT path FROM xrays LIMIT 5) a JOIN xrays b ON a.path = b.path"
    assert shared.rows(f"{joined} UNION ALL SELECT sum(n) FROM ({joined})") == [{"n": 5}, {"n": 5}]
