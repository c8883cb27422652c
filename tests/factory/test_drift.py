"""What a machine was slower or faster by for a while is taken out of what was measured then."""

import numpy as np
import pytest

from intarsia.factory.drift import steadied

THINGS = 40
OWN = np.geomspace(0.001, 0.02, THINGS)


def taken(rounds, pace):
    """Each thing's seconds, in shuffled rounds, on a machine of that pace: one number for each measurement."""
    draws = np.random.default_rng(0)
    order = [thing for _ in range(rounds) for thing in draws.permutation(THINGS).tolist()]
    return [(thing, OWN[thing] * by) for thing, by in zip(order, pace, strict=True)]


def apart(found):
    """By how much seconds of things are off, beside each other."""
    return np.std(np.log(found / OWN))


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_what_a_steady_machine_says_is_left_as_it_is(rounds):
    assert steadied(taken(rounds, [1.0] * rounds * THINGS)) == pytest.approx(OWN)


@pytest.mark.parametrize("rounds", [2, 4])
@pytest.mark.parametrize("began", [0, 30, 70])
@pytest.mark.parametrize("lasted", [1, 12, THINGS])
def test_a_slow_while_is_hardly_seen(rounds, began, lasted):
    pace = np.ones(rounds * THINGS)
    pace[began : began + lasted] = 1.3
    assert apart(steadied(taken(rounds, pace))) < 0.02


def test_a_measurement_that_was_disturbed_does_not_count():
    pace = np.ones(4 * THINGS)
    pace[::7] = 1.5
    assert apart(steadied(taken(4, pace))) < 0.03


@pytest.mark.parametrize("every", [11, 20, 40])
def test_a_pace_that_swings_is_told_from_the_things(every):
    draws = np.random.default_rng(1)
    pace = 1 + 0.08 * np.sin(np.arange(4 * THINGS) / every) + 0.02 * draws.random(4 * THINGS)
    measured = taken(4, pace)
    fastest = np.array([min(seconds for number, seconds in measured if number == thing) for thing in range(THINGS)])
    assert apart(steadied(measured)) < 0.5 * apart(fastest)


def test_numbers_may_be_left_out_and_come_back_in_order():
    assert steadied([(7, 3.0), (2, 1.0), (7, 3.0)]) == pytest.approx([1.0, 3.0])
