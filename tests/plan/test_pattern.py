"""The two small grammars, by example and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import PlanError
from intarsia.plan.pattern import rows_of, sites_of, write_rows

PATHS = ("down_blocks.0", "down_blocks.0.attentions.1", "down_blocks.1", "mid_block", "up_blocks.0")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (":", range(10)),
        ("0:3", [0, 1, 2]),
        ("!::5", [1, 2, 3, 4, 6, 7, 8, 9]),
        ("::2, !0", [2, 4, 6, 8]),
        ("-3:", [7, 8, 9]),
        ("4, 6", [4, 6]),
        ("!3", [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("0:100", range(10)),
        ("-1", [9]),
    ],
)
def test_rows(text, rows):
    assert rows_of(text, 10) == frozenset(rows)


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "1;2", "10", "-11", "::0", "::-1", "0:3,,4"])
def test_rows_refused(text):
    with pytest.raises(PlanError, match="rows"):
        rows_of(text, 10)


@given(st.integers(1, 60).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1)))))
def test_written_rows_are_read_back(case):
    count, rows = case
    if rows:
        assert rows_of(write_rows(rows, count), count) == rows


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("down_blocks.*", ["down_blocks.0", "down_blocks.1"]),
        ("down_blocks.[01] | mid_block", ["down_blocks.0", "down_blocks.1", "mid_block"]),
        ("**.attentions.*", ["down_blocks.0.attentions.1"]),
        ("**", list(PATHS)),
        ("host", ["host"]),
        ("down_blocks.0", ["down_blocks.0"]),
        ("downXblocks.0", []),
    ],
)
def test_sites(text, found):
    assert list(sites_of(text, PATHS)) == found


@given(st.text(alphabet="*.[]01ab", min_size=1, max_size=8))
def test_no_wildcard_names_the_host(text):
    try:
        assert "host" not in sites_of(text, ["host", "a", "b"])
    except PlanError as refusal:
        assert "bracket" in str(refusal)  # nothing but a PlanError leaves the grammar


def test_an_empty_alternative_is_refused():
    with pytest.raises(PlanError, match="an empty name"):
        sites_of("mid_block | ", PATHS)
