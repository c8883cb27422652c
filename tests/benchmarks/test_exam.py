"""Whom drawn pictures are held against, and what the floor is."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.base_model.distances import frechet
from benchmarks.base_model.exam import Exam
from benchmarks.base_model.world import World

RNG = np.random.default_rng(0)
TRAINED, HELD_OUT = 600, 150


def judge(pictures):
    """Pictures are their own features here; all show the one thing there is, in the one style."""
    ones = np.ones((len(pictures), 1))
    return {"features": np.asarray(pictures), "concept": ones, "style": ones}


@pytest.fixture
def exam():
    parts = ["train"] * TRAINED + ["cell"] * HELD_OUT
    cells = [{"concept": 0, "style": "flat", "part": part, "prompt": "a fox"} for part in parts]
    world = World(RNG.normal(size=(len(cells), 6)), cells, [{"label": "fox", "subgroup": "animal"}], ["flat"])
    return Exam(world, judge, cells[TRAINED:], world.rows("train"))


def test_the_floor_is_of_pictures_that_are_not_held_against_themselves(exam):
    known = exam.world.pictures
    some = np.sort(np.random.default_rng(0).choice(TRAINED, HELD_OUT, replace=False))
    rest = np.setdiff1d(np.arange(TRAINED), some)
    assert exam.floor == pytest.approx(frechet(known[some], known[rest]))
    assert exam.floor > frechet(known[some], known[:TRAINED])
    # Held against pictures of another part, nothing has to be left out.
    other = replace(exam, near=list(range(TRAINED, TRAINED + HELD_OUT)))
    assert other.floor == pytest.approx(frechet(known[some], known[TRAINED:]))


def test_a_distance_above_the_floor(exam):
    drawn = RNG.normal(size=(HELD_OUT, 6))
    near, far = exam.row(drawn), exam.row(drawn + 0.5)
    assert near["frechet to real"] == pytest.approx(frechet(drawn, exam.world.pictures[:TRAINED]))
    assert exam.above_floor(near, near) == pytest.approx(1.0)
    above = (far["frechet to real"] - exam.floor) / (near["frechet to real"] - exam.floor)
    assert exam.above_floor(far, near) == pytest.approx(above)
    assert exam.row(drawn, drawn)["frechet to whole"] == pytest.approx(0.0, abs=1e-6)


def test_few_pictures_have_no_distance(exam):
    few = replace(exam, wanted=exam.wanted[:9])
    row = few.row(RNG.normal(size=(9, 6)))
    assert row["frechet to real"] is None
    assert few.above_floor(row, row) is None
    assert row["concept top-1"] == 1.0
