"""Time modes name rows that exist, as many as asked, row 0 among them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intarsia import PlanError, Reuse, resolve
from intarsia.lighten import inherit, modes
from intarsia.lighten.modes import MODES
from intarsia.plan.text import read_plan, write_plan

EXAMPLES = {
    "uniform": {"every": 3, "offset": 1},
    "even": {"count": 6},
    "front": {"count": 6},
    "middle": {"count": 6},
    "back": {"count": 6},
    "ends": {"first": 3, "last": 2, "every": 4},
    "power": {"count": 7, "centre": 5, "exponent": 1.4},
    "bins": {"compute": [4, 1, 1], "reuse": [2, 3, 4]},
    "explicit": {"keys": [0, 2, 7]},
}


def test_every_mode_has_an_example():
    assert EXAMPLES.keys() == MODES.keys()


@pytest.mark.parametrize("name", MODES)
def test_modes_make_plans_that_are_written_and_read(name, pico_outline):
    keys = MODES[name](20, **EXAMPLES[name])
    assert keys[0] == 0
    assert list(keys) == sorted(set(keys))
    assert keys[-1] < 20
    plan = inherit(20, keys=keys, sites="up_blocks.2")
    assert read_plan(write_plan(plan)) == plan
    table = resolve(plan, pico_outline)
    assert [row for row, cells in enumerate(table.cells) if not cells] == list(keys)
    assert all(action == Reuse() for cells in table.cells for action in cells.values())


LITERALLY = {
    "uniform with an offset": (modes.uniform(12, 4, offset=3), [0, 3, 7, 11]),
    "even": (modes.even(20, 6), [0, 3, 7, 10, 13, 17]),
    "front": (modes.front(50, 9), [0, 1, 2, 5, 10, 15, 22, 30, 39]),
    "middle": (modes.middle(50, 9), [0, 16, 21, 24, 25, 26, 29, 34, 40]),
    "back": (modes.back(50, 9), [0, 19, 27, 34, 39, 44, 47, 48, 49]),
    "power": (modes.power(20, 7, centre=5, exponent=1.4), [0, 4, 5, 6, 9, 12, 15]),
    # Faster Diffusion's 100 steps: the first ten, the last fourteen, every fifth between.
    "ends": (modes.ends(100, 10, 14, 5), [row for row in range(100) if row < 10 or row > 85 or row % 5 == 0]),
    "ends, not in step": (modes.ends(20, 3, 2, 4), [0, 1, 2, 3, 7, 11, 15, 18, 19]),
    # cache-dit's masks for 28 steps, fast and slow.
    "bins, fast": (modes.bins(28, [6, 1, 1, 1, 1, 1], [1, 3, 4, 5, 4]), [0, 1, 2, 3, 4, 5, 7, 11, 16, 22, 27]),
    "bins, slow": (
        modes.bins(28, [8, 3, 3, 2, 1, 1], [1, 2, 2, 2, 3]),
        [*range(8), 9, 10, 11, 14, 15, 16, 19, 20, 23, 27],
    ),
    "bins, and rows left over": (modes.bins(12, [2, 1], [3, 4]), [0, 1, 5, 10, 11]),
    "explicit": (modes.explicit(9, [7, 2, 2]), [0, 2, 7]),
}


@pytest.mark.parametrize("name", LITERALLY)
def test_where_the_key_rows_fall(name):
    found, expected = LITERALLY[name]
    assert list(found) == expected


@given(st.integers(1, 80), st.data())
def test_power_names_as_many_as_asked(rows, data):
    count = data.draw(st.integers(1, rows))
    centre = data.draw(st.integers(0, rows - 1))
    keys = modes.power(rows, count, centre, data.draw(st.floats(0.3, 4)))
    assert keys[0] == 0
    assert len(keys) == count


@given(st.integers(1, 80), st.data())
def test_uniform_is_a_ceiling(rows, data):
    every = data.draw(st.integers(1, rows))
    assert len(modes.uniform(rows, every)) == -(-rows // every)


@given(st.integers(2, 60), st.data())
def test_front_is_back_mirrored_but_for_row_0(rows, data):
    count = data.draw(st.integers(1, rows))
    mirrored = {rows - 1 - row for row in modes.front(rows, count)}
    assert len(mirrored - set(modes.back(rows, count))) <= 1


def test_front_is_dense_in_front():
    assert modes.front(50, 9)[:3] == (0, 1, 2)
    front, back = modes.front(50, 9), modes.back(50, 9)
    assert sum(front) < sum(modes.middle(50, 9)) < sum(back)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: modes.uniform(10, 11), "every=11"),
        (lambda: modes.uniform(10, 3, 3), "offset=3"),
        (lambda: modes.front(10, 11), "count=11"),
        (lambda: modes.power(10, 3, 10), "centre=10"),
        (lambda: modes.ends(10, 6, 5, 2), "together more than 10"),
        (lambda: modes.bins(10, [5, 5], [1]), "11 rows in all"),
        (lambda: modes.bins(10, [5], [1, 2]), "one 'reuse' after each"),
        (lambda: modes.explicit(10, [3, 12]), "row 12"),
        (lambda: inherit(10, sites="mid_block"), "either 'every' or 'keys'"),
    ],
)
def test_refusals(call, says):
    with pytest.raises(PlanError, match=says):
        call()


@pytest.mark.parametrize("name", MODES)
def test_modes_are_read_as_people_write_them(name):
    written = ",".join(
        f"{key}={'/'.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in EXAMPLES[name].items()
    )
    assert modes.read(f"{name}:{written}", 20) == MODES[name](20, **EXAMPLES[name])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sometimes", "no time mode is called 'sometimes'"),
        ("even", "count is missing"),
        ("even:count=few", "'few' is not a number"),
        ("even:number=3", "no setting 'number'. Write it as even:count=..."),
    ],
)
def test_a_mode_that_cannot_be_read_is_explained(text, said):
    with pytest.raises(PlanError, match=said):
        modes.read(text, 20)
