"""The ways to a student, and how their rates are settled, on a pico teacher."""

import json

import pytest
import torch

from benchmarks.assemble.arms import arms_of, paces
from benchmarks.assemble.run import compared
from intarsia import load_plan
from intarsia.errors import CardError
from intarsia.hosts import pico
from intarsia.shipped import plan_file
from recipes.student import screening, ways

PLAN = load_plan(plan_file("shallow"))


@pytest.fixture(autouse=True)
def lessons(monkeypatch):
    """Noise for pictures, three captions each."""

    def batches(_base, batch):
        return lambda _draw: (torch.randn(batch, 4, 16, 16), torch.randn(3, batch, pico.TOKENS, pico.WIDTH))

    monkeypatch.setattr(ways, "lessons", batches)
    monkeypatch.setattr(ways, "channel_weights", lambda _latents: torch.ones(4))


@pytest.mark.parametrize("name", ways.WAYS)
def test_every_way_trains(name, tmp_path):
    teacher, way = pico.unet(), ways.WAYS[name]
    born, pairs, donors = ways.student_of(teacher, PLAN, way)
    assert ("mid_block" in pairs) == (name != "bk-sdm")
    assert all(len(some) == 1 for some in donors.values())
    assert bool(donors) == way.experts
    student, done = ways.train(way, teacher, PLAN, tmp_path, tmp_path / "run", steps=5, batch=2)
    assert done.finished
    moved = [torch.equal(one, two) for one, two in zip(born.parameters(), student.parameters(), strict=True)]
    assert not all(moved)
    assert (tmp_path / "run/level-0").exists() == (way.incubate > 0)


def test_the_rate_is_the_one_that_ends_nearest_to_the_teacher(tmp_path, monkeypatch):
    teacher, asked = pico.unet(), []
    off = {(1e-3, 0.2): 3.0, (1e-4, 0.2): 2.0, (1e-4, 0.0): 1.0, (1e-3, 0.0): 0.0}

    def train(way, *_args, **_words):
        asked.append((way.rate, way.incubate))
        (tmp_path / f"{way.rate:g}, incubated {way.incubate:g}").mkdir()
        return way, ways.Taught(True, 0.0, {})

    monkeypatch.setattr(screening, "train", train)
    monkeypatch.setattr(screening, "examined", lambda way, *_: off[way.rate, way.incubate])
    for _ in range(2):  # the second time all is kept
        found = screening.settled(ways.WAYS["ours"], teacher, PLAN, tmp_path, tmp_path, rates=(1e-4, 1e-3))
        assert (found.rate, found.incubate) == (1e-4, 0.0)
        assert asked == [(1e-3, 0.2), (1e-4, 0.2), (1e-4, 0.0)]


def test_the_rate_is_sought_beyond_those_tried_first(tmp_path, monkeypatch):
    asked = []

    def train(way, *_args, **_words):
        asked.append(way.rate)
        (tmp_path / f"{way.rate:g}, incubated {way.incubate:g}").mkdir()
        return way, ways.Taught(True, 0.0, {})

    monkeypatch.setattr(screening, "train", train)
    monkeypatch.setattr(screening, "examined", lambda way, *_: -way.rate)
    found = screening.settled(ways.WAYS["task"], pico.unet(), PLAN, tmp_path, tmp_path, rates=(1, 2, 3, 4, 5))
    assert found.rate == 5
    assert asked == [3, 2, 4, 5]


def test_a_training_goes_on_only_as_it_was_begun(tmp_path):
    teacher, way = pico.unet(), ways.WAYS["task"]
    _, done = ways.train(way, teacher, PLAN, tmp_path, tmp_path / "run", steps=2, batch=2)
    assert ways.train(way, teacher, PLAN, tmp_path, tmp_path / "run", steps=2, batch=2)[1] == done  # losses too
    with pytest.raises(CardError, match="steps 2, now 4"):
        ways.train(way, teacher, PLAN, tmp_path, tmp_path / "run", steps=4, batch=2)
    with pytest.raises(CardError, match="teacher"):
        ways.train(way, pico.unet(seed=1), PLAN, tmp_path, tmp_path / "run", steps=2, batch=2)


def test_the_pace_is_taken_in_turn(tmp_path, monkeypatch):
    turns = iter([(1.5, 4.5), (2, 8), (1, 4), (9, 90), (3, 9), (4, 7)])  # seconds of 15 and of 45 steps
    now, order = iter([seconds for turn in turns for seconds in turn]), []

    def train(way, *_args, steps, **_words):
        order.append((way.rate, steps))
        return None, ways.Taught(True, float(next(now)), {})

    monkeypatch.setattr("benchmarks.assemble.arms.train", train)
    both = {("a", "shallow"): ways.Way(rate=1), ("b", "shallow"): ways.Way(rate=2)}
    for _ in range(2):
        found = paces(both, pico.unet(), tmp_path, tmp_path, 3)
        assert found == {("a", "shallow"): pytest.approx(0.1), ("b", "shallow"): pytest.approx(0.2)}
    assert order == [(1, 15), (1, 45), (2, 15), (2, 45)] * 3


def test_arms_are_compared_by_the_mean_over_seeds():
    arms = arms_of("bk-base", 2, "shallow")
    assert len(arms) == len(ways.WAYS) + 3 + 2
    far = {"scratch": 9, "task": 5, "bk-sdm": 4, "ours, no experts": 3, "ours": 2}
    distance = {arm.name: far[arm.way] + (4 if arm.seed and arm.way == "ours" else 0) for arm in arms}
    seconds = {arm.name: 100 + (12 if arm.way == "ours" and arm.plan == "bk-base" else 0) for arm in arms}
    claims = compared(arms, distance, seconds)
    assert [round(claim.value, 2) for claim in claims] == [1.12, 1.0, 1.33, 0.5, 0.5, 1.12, 1.12, 1.0, 1.0]
    assert [claim.holds for claim in claims] == [False, True, False, True, True, False, False, True, True]
    assert json.dumps([claim.value for claim in claims])
