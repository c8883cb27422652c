"""Sites that keep some of their units: files, refusals and prices, without a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import Keep, Outline, Plan, PlanError, Price, Rule, Site, Skip, draw, price, resolve
from intarsia.plan import Cost, cost
from intarsia.plan.text import read_plan, write_plan
from intarsia.plan.units import read_units, write_units

some_units = st.sets(st.integers(0, 40), min_size=1).map(lambda units: tuple(sorted(units)))


def two_layers() -> Outline:
    """stem - a (4 units) - b (3 units) that read each other's: 5 a unit of a, 2 a pair, 7 a unit of b."""
    sites = (
        Site("block", "unit", macs=4 * 5 + 4 * 3 * 2 + 3 * 7, parts=("a", "b")),
        Site("a", "subunit", units=4),
        Site("b", "subunit", units=3),
    )
    prices = (Price(("a",), 5, 1, 4), Price(("a", "b"), 2, 2, 8), Price(("b",), 7, 3, 12))
    return Outline("test/two", {}, macs=100, params=50, sites=sites, root="block", prices=prices, bytes=200)


@given(some_units)
def test_units_are_written_and_read(units):
    assert read_units(write_units(units)) == units
    plan = Plan(1, (Rule("0", "a", Keep(units)),))
    assert read_plan(write_plan(plan)) == plan


@given(st.integers(1, 4), st.integers(1, 3))
def test_a_row_costs_what_its_units_cost(a, b):
    plan = Plan(1, (Rule("0", "a", Keep(tuple(range(a)))), Rule("0", "b", Keep(tuple(range(b))))))
    found = cost(two_layers(), {"a": a, "b": b})
    macs = 100 - 65 + 5 * a + 2 * a * b + 7 * b
    assert found == Cost(macs, 50 - 37 + a + 2 * a * b + 3 * b, 200 - 148 + 4 * a + 8 * a * b + 12 * b)
    assert price(resolve(plan, two_layers())).total == macs


def test_an_outline_survives_json():
    assert Outline.from_json(two_layers().to_json()) == two_layers()
    plain = Outline("test", {}, 1, 1, (Site("a", "unit"),), "a")
    assert not {"prices", "bytes"} & plain.to_json().keys()


def test_the_drawing_shows_every_unit():
    drawn = draw(resolve(Plan(1, (Rule("0", "a", Keep((0, 2))),)), two_layers())).splitlines()
    assert drawn[:2] == ["a  #.#.  2 of 4", "b  ###  3 of 3"]


def a_block(*rules):
    """A plan, for a host of a block that can be skipped, with two units inside, and another."""
    sites = (
        Site("a", "unit", macs=60, skip="identity", parts=("a.b",), units=1), Site("a.b", "subunit", macs=40, units=2),
        Site("c", "unit", macs=10, reads=("a",), units=3),
    )  # fmt: skip
    prices = (Price(("a",), 20), Price(("a.b",), 20))
    return resolve(
        Plan(1, tuple(Rule("0", path, do) for path, do in rules)), Outline("t", {}, 70, 0, sites, "c", prices)
    )


def test_a_skipped_block_keeps_nothing():
    table = a_block(("a", Skip()))
    assert price(table).total == 10
    assert draw(table).splitlines()[:3] == ["a    .  0 of 1", "a.b  ..  0 of 2", "c    ###  3 of 3"]
    assert price(a_block(("a.b", Keep((1,))), ("a", Skip()))).total == 10  # the last match wins
    assert price(a_block(("a", Keep((0,))), ("a.b", Keep((1,))))).total == 50
    with pytest.raises(PlanError, match=r"'a.b' lies inside 'a', which an earlier rule reuses or skips whole"):
        a_block(("a", Skip()), ("a.b", Keep((1,))))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("keep: ''", "write units as numbers and ranges"),
        ("keep: '-3:'", "write units as numbers and ranges"),
        ("keep: '0:999999999999'", "no site has more than"),
        ("keeps: '3'", "unknown key 'keeps'."),
    ],
)
def test_refusals_name_the_line(line, says):
    with pytest.raises(PlanError) as refusal:
        read_plan(f"intarsia: plan/1\nrows: 1\nrules:\n  - rows: '0'\n    sites: a\n    do: {{{line}}}\n", "p.yaml")
    assert says in str(refusal.value)
    assert str(refusal.value).startswith("p.yaml:")
    assert len(refusal.value.problems) == 1
