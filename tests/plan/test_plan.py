"""Joining, resolving, pricing and drawing plans, without a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import (
    Extrapolate,
    FitError,
    Outline,
    Plan,
    PlanError,
    Reuse,
    Rule,
    Run,
    Site,
    Skip,
    Use,
    draw,
    price,
    resolve,
)

ROWS = 6
CHAIN = ("in", "a", "b", "c", "out")


def chain() -> Outline:
    """in - a - b - c - out, each of cost 10, and b in a group with c; a also feeds c directly."""
    reads = {"a": ("in",), "b": ("a",), "c": ("b", "a"), "out": ("c",)}
    units = [Site(name, "unit", macs=10, output_bytes=4, reads=reads.get(name, ())) for name in CHAIN]
    group = Site("last", "block", macs=20, parts=("b", "c"))
    return Outline("test/chain", {}, macs=55, params=0, sites=(*units[:2], group, *units[2:]), root="out")


some_rows = st.sampled_from(["1:", "2, 4", "!::2", "3:5"])
reuses = st.builds(Rule, some_rows, st.sampled_from(["a", "b | c", "last", "**", "host"]), st.just(Reuse()))
runs = st.builds(Rule, some_rows, st.sampled_from(["a", "last", "**"]), st.just(Run()))  # never inside a reused group
rules = reuses | runs
plans = st.builds(lambda some: Plan(ROWS, tuple(some)), st.lists(rules, max_size=4))


@given(plans, plans)
def test_joining_is_reading_one_after_the_other(first, second):
    assert (first | second).rules == first.rules + second.rules


@given(plans)
def test_the_empty_plan_joins_without_trace(plan):
    assert plan | Plan(ROWS) == plan == Plan(ROWS) | plan


@given(plans)
def test_running_everything_last_is_the_empty_plan(plan):
    everything = Rule(":", "**", Run())
    assert resolve(plan | Plan(ROWS, (everything,)), chain()).cells == resolve(Plan(ROWS), chain()).cells


@given(plans)
def test_a_plan_never_costs_more_than_the_host(plan):
    table = resolve(plan, chain())
    bill = price(table)
    for macs, told in zip(bill.macs, table.told, strict=True):
        assert macs == 0 if told else 5 <= macs <= bill.whole
    assert bill.macs[0] == bill.whole


def test_whatever_feeds_only_a_reused_site_is_dead():
    table = resolve(Plan(2, (Rule("1", "b", Reuse()),)), chain())
    assert table.flows[1].computed == {"in", "a", "c", "out"}  # a still feeds c
    assert resolve(Plan(2, (Rule("1", "c", Reuse()),)), chain()).flows[1].computed == {"out"}


def test_a_reused_host_is_not_entered():
    table = resolve(Plan(3, (Rule("1:", "b", Reuse()), Rule("1:", "host", Reuse()))), chain())
    assert table.told == (False, True, True)
    assert table.kept == ({"out": 1}, {"out": 1}, {})
    assert price(table).macs == (55, 0, 0)
    assert "host  #..\n" in draw(table)
    assert resolve(Plan(3, (Rule("1:", "host", Reuse()), Rule("2", "**", Run()))), chain()).told == (False, True, False)


def test_a_reused_group_answers_where_it_is_left():
    table = resolve(Plan(2, (Rule("1", "last", Reuse()),)), chain())
    assert set(table.flows[1].recalled) == {"c"}
    assert table.kept == ({"c": 1}, {})
    assert price(table).kept_bytes == (4, 0)


def test_rows_of_one_kind_read_alike():
    table = resolve(Plan(6, (Rule("!::3", "c", Reuse()),)), chain())
    assert table.kinds == (0, 1, 1, 0, 1, 1)


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        (Rule("0", "c", Reuse()), PlanError, "row 0 reuses 'c' before any row has computed it"),
        (Rule("1", "cc", Reuse()), FitError, "no site matches 'cc'"),
        (Rule("1", "lost", Reuse()), FitError, "Nearest: 'last'"),
        (Rule("1", "a", Skip()), FitError, "'a' cannot be skipped"),
        (Rule("1", "a", Use("small")), FitError, "'use' replaces the host"),
        (Rule("1", "host", Use("smal")), FitError, "Nearest: 'small'"),
        (Rule("1", "host", Skip()), FitError, "the host itself can run, be reused or be replaced"),
        (Rule("1", "host", Reuse("residual")), FitError, "the host adds to no input"),
        (Rule("9", "a", Reuse()), PlanError, "there is no row 9"),
    ],
)
def test_refusals(rule, error, says):
    with pytest.raises(error, match=says):
        resolve(Plan(ROWS, (rule,)), chain(), others=["small"])


def test_all_problems_are_told_at_once():
    plan = Plan(ROWS, (Rule("9", "a", Reuse()), Rule("x", "a", Reuse()), Rule("1", "nowhere", Reuse())))
    with pytest.raises(PlanError) as refusal:
        resolve(plan, chain())
    assert len(refusal.value.problems) == 3


def test_a_plan_for_another_host_is_refused():
    with pytest.raises(FitError, match="the plan is for the host abc"):
        resolve(Plan(ROWS, host="abc"), chain())


def test_what_is_said_of_a_group_holds_for_its_parts():
    after = Plan(4, (Rule("1:", "b | c", Reuse()), Rule("2:", "last", Run())))
    assert [set(settled.recalled) for settled in resolve(after, chain()).flows] == [set(), {"c"}, set(), set()]
    torn = Plan(4, (Rule("1:", "last", Reuse()), Rule("2:", "b", Run())))
    with pytest.raises(PlanError, match="'b' lies inside 'last'"):
        resolve(torn, chain())
    told = Plan(4, (Rule("1:", "c", Reuse("output", Extrapolate(1))), Rule("1:", "last", Reuse())))
    assert resolve(told, chain()).flows[1].recalled["c"] == Reuse()


def test_plans_of_different_length_do_not_join():
    with pytest.raises(PlanError, match="6 and 7 rows"):
        Plan(6) | Plan(7)
    with pytest.raises(PlanError, match="at least one row"):
        Plan(0)


def test_another_model_answers_and_is_priced():
    table = resolve(Plan(3, (Rule("0:2", "host", Use("small")),)), chain(), others=["small"])
    small = Outline("test/chain", {}, macs=7, params=0, sites=chain().sites, root="out")
    assert price(table, {"small": small}).macs == (7, 7, 55)
    with pytest.raises(FitError, match="its outline is needed"):
        price(table)
    assert "aa#" in draw(table)


def test_the_drawing_is_what_it_was():
    plan = Plan(12, (Rule("!::4", "last", Reuse()),))
    assert draw(resolve(plan, chain())) == (
        "      0         10\n"
        "host  ############\n"
        "last  #...#...#...\n"
        "# run   . reuse   - skip   blank: nobody reads it, so it is not computed\n"
        "300 MACs in 12 calls, 45.5% of the whole host's 660 MACs; at most 4 B remembered"
    )
    assert str(plan).splitlines()[2] == "last  #...#...#..."
