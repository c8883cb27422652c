"""Which arm is claimed: one with something to spare, not the fastest that happened to pass."""

import pytest

from benchmarks.combined.run import beside, chosen


def row(arm, speedup, accuracy, distance):
    return {"arm": arm, "speedup": speedup, "concept top-1": accuracy, "frechet to real": distance}


WHOLE = row("whole", 1.0, 0.5, 10.0)
SPARE = row("student, inherit a", 4.3, 0.495, 10.2)
TIGHT = row("student, inherit b", 5.0, 0.475, 10.9)
BAD = row("student, inherit c", 9.0, 0.3, 20.0)
SLOW = row("student, inherit e", 3.0, 0.5, 10.0)
ALONE = [row("inherit", 9.0, 0.5, 10.0), row("student, 12 steps", 9.0, 0.5, 10.0)]
FEWER = [
    row("fewer steps, 25", 2.0, 0.5, 10.1),
    row("fewer steps, 12", 4.1, 0.49, 10.5),
    row("fewer steps, 8", 6.0, 0.0, 30.0),
]


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([SPARE, TIGHT, BAD, SLOW], "student, inherit a"),
        ([TIGHT, BAD, SLOW], "student, inherit b"),
        ([BAD, SLOW], "student, inherit e"),
        ([BAD, row("student, inherit d", 8.0, 0.3, 15.0)], "student, inherit d"),
    ],
)
def test_the_arm_with_the_most_to_spare(rows, best):
    assert chosen([WHOLE, *FEWER, *ALONE, *rows]) == best


def test_beside_it_stands_the_fastest_run_of_fewer_steps_that_is_good_enough():
    assert beside([WHOLE, *FEWER, SPARE]) == ["fewer steps, 12"]
    assert beside([WHOLE, FEWER[-1]]) == []
