"""Plan files: what is written is read back; what is wrong is told with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import (
    CardError,
    OutputExists,
    Plan,
    PlanError,
    Reuse,
    Rule,
    Run,
    Skip,
    Use,
    load_outline,
    load_plan,
    save_outline,
    save_plan,
)
from intarsia.lighten import PLANNERS
from intarsia.plan.forecast import Extrapolate, Fitted
from intarsia.plan.text import read_plan, write_plan

rules = st.builds(
    Rule,
    st.sampled_from(["1:", "!::2", "3"]),
    st.sampled_from(["mid_block", "up_blocks.[01] | **.attn1"]),
    st.sampled_from([Run(), Reuse(), Skip(), Use("small"), Reuse("residual")])
    | st.builds(
        Reuse, st.sampled_from(["output", "residual"]), st.builds(Extrapolate, st.integers(1, 2), st.floats(0, 2))
    )
    | st.just(Reuse(forecast=Fitted(((1.5, -0.5), (2.0, -1.5, 0.5))))),
)


@given(st.builds(Plan, st.integers(4, 99), st.lists(rules, max_size=4).map(tuple), st.none() | st.just("a1b2")))
def test_written_plans_are_read_back(plan):
    text = write_plan(plan)
    assert read_plan(text) == plan
    assert write_plan(read_plan(text)) == text


@pytest.mark.parametrize("planner", PLANNERS, ids=lambda planner: planner.name)
def test_every_planner_writes_plans_that_are_read_back(planner):
    for example in planner.examples:
        plan = planner.make(12, **example)
        assert read_plan(write_plan(plan)) == plan
        assert plan.made_by["planner"] == planner.name


WRONG = """\
intarsia: plan/1
rows: 10
rulez: []
rules:
  - rows: "0:"
    sites: mid_block
    do: reusing
  - rows: "12"
    sites: mid_block
    do: run
    extra: 3
  - {rows: "1:", do: reuse}
"""


def test_all_mistakes_are_told_with_their_lines():
    with pytest.raises(PlanError) as refusal:
        read_plan(WRONG, "fox.yaml")
    assert refusal.value.problems == (
        "fox.yaml:3: unknown key 'rulez'. Nearest: 'rules'.",
        "fox.yaml:7: 'do' is run, reuse, skip, {use: NAME}, {reuse: HOW} or {keep: UNITS}, not 'reusing'. "
        "Nearest: 'reuse', 'run'.",
        "fox.yaml:8: rows '12': there is no row 12 in a plan of 10 rows (0 to 9).",
        "fox.yaml:11: unknown key 'extra'. Known: rows, sites, do.",
        "fox.yaml:12: 'sites' is missing.",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "p:1: a plan starts with"),
        ("- 1", "p:1: a plan starts with"),
        ("intarsia: plan/1\nrows: [", "p:2: not YAML"),
        ("intarsia: plan/2\nrows: 3", "p:1: this is not a plan of a known version"),
        ("intarsia: plan/1\nrows: 0", "p:2: 'rows'"),
        ("intarsia: plan/1\nrows: many", "p:2: 'rows'"),
        ("intarsia: plan/1", "p:1: 'rows' is missing"),
        ("rows: 3\nrules: 4", "p:2: 'rules'"),
        (
            "intarsia: plan/1\nrows: 3\nrules: [{rows: ':', sites: a, do: {reuse: {ordr: 1}}}]",
            "p:3: unknown key 'ordr'. Nearest: 'order'",
        ),
        ("intarsia: plan/1\nrows: 3\nrules: [{rows: ':', sites: a, do: {reuse: {order: 3}}}]", "p:3: 'order'"),
        ("intarsia: plan/1\nrows: 3\nrules: [{rows: ':', sites: a, do: {yuse: b}}]", "p:3: unknown key 'yuse'"),
        ("intarsia: !!python/object/apply:os.system [ls]\nrows: 3", "p:1: not YAML"),
    ],
)
def test_refusals(text, says):
    with pytest.raises(PlanError) as refusal:
        read_plan(text, "p")
    assert any(problem.startswith(says) for problem in refusal.value.problems), refusal.value.problems


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{rows: 1:10, sites: a, do: {reuse: {damping: 0.5}}}", "p:3: 'damping' needs an 'order' of 1 or 2"),
        ("{rows: 1:10, sites: a, do: {reuse: {order: 1, fitted: [[1.0]]}}}", "p:3: 'fitted' weights and an 'order'"),
        ("{rows: 1:10, sites: a, do: {reuse: {fitted: []}}}", "p:3: 'fitted'"),
        ("{rows: 1:10, sites: a, do: {reuse: {fitted: [[]]}}}", "p:3: "),
        ("{rows: 1:10, sites: a, do: {reuse: {fitted: [[.nan]]}}}", "p:3: "),
        ("{rows: '3:-', sites: a, do: run}", "p:3: rows '3:-': cannot read"),
        ("{rows: !::3, sites: a, do: run}", "p:3: not YAML"),
        ("{rows: '1', rows: '2', sites: a, do: run}", "p:3: 'rows' stands here for the second time."),
    ],
)
def test_traps(rule, says):
    with pytest.raises(PlanError) as refusal:
        read_plan(f"intarsia: plan/1\nrows: 20\nrules: [{rule}]\n", "p")
    assert any(problem.startswith(says) for problem in refusal.value.problems), refusal.value.problems


def test_unquoted_slices_are_slices():
    plan = read_plan("intarsia: plan/1\nrows: 100\nrules: [{rows: 1:10, sites: a, do: run}]\n")
    assert plan.rules[0].rows == "1:10"


def test_a_picture_is_no_plan(tmp_path):
    (tmp_path / "p.png").write_bytes(b"\x89PNG\xff\x00")
    with pytest.raises(PlanError, match="not a text file"):
        load_plan(tmp_path / "p.png")
    with pytest.raises(PlanError, match="p:1: not YAML"):
        read_plan("rows: \x00", "p")


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "plan.yaml"
    save_plan(Plan(3), path)
    with pytest.raises(OutputExists, match="exists, and nothing was written"):
        save_plan(Plan(4), path)
    assert load_plan(path) == Plan(3)
    assert list(tmp_path.iterdir()) == [path]


def test_outlines_are_read_back(tmp_path, pico_outline):
    path = tmp_path / "unet.json"
    save_outline(pico_outline, path)
    assert load_outline(path) == pico_outline
    assert load_outline(path).shape_hash == pico_outline.shape_hash


@pytest.mark.parametrize(
    "text", ["{", "{}", "[]", '{"intarsia": "outline/2"}', '{"intarsia": "outline/1", "host": "x"}']
)
def test_what_is_not_an_outline_is_refused(tmp_path, text):
    path = tmp_path / "unet.json"
    path.write_text(text)
    with pytest.raises(CardError, match="not an outline"):
        load_outline(path)
