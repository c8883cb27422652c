"""From a factor to a plan."""

import itertools
import re

import pytest

from intarsia import FitError, price, resolve
from intarsia.lighten import speed

ROWS = 12


def test_the_ladder_climbs_from_fast_to_whole(pico_outline):
    plans = speed.ladder(pico_outline, ROWS)
    macs = [price(resolve(plan, pico_outline)).macs_ratio for plan in plans]
    assert macs == sorted(macs)
    assert macs[0] == pytest.approx(1 / ROWS)  # one call, and the others told without entering the model
    assert macs[-1] == 1
    assert max(high - low for low, high in itertools.pairwise(macs)) < 1.01 / ROWS


@pytest.mark.parametrize("factor", [1.2, 1.6, 2.2])
def test_as_many_rows_as_the_factor_allows(pico_outline, factor):
    pace = speed.Pace(((0.1, 0.2), (0.5, 0.6)))
    plan, expected = speed.plan_for_speed(pico_outline, ROWS, pace, factor)
    assert expected >= factor
    rungs = speed.ladder(pico_outline, ROWS)
    slower = rungs[rungs.index(plan) + 1]
    assert 1 / pace.seconds_ratio(price(resolve(slower, pico_outline)).macs_ratio) < factor


def test_out_of_reach_says_what_is_in_reach(pico_outline):
    with pytest.raises(FitError, match=r"3\.48x is the most for 12 calls"):
        speed.plan_for_speed(pico_outline, ROWS, speed.Pace(((0.1, 0.3),)), 9.0)


def test_a_pace_is_measured_once(pico_outline, monkeypatch, tmp_path):
    monkeypatch.setenv("INTARSIA_CACHE", str(tmp_path))
    pace, asked = speed.Pace(((0.1, 0.2),)), []

    def measure():
        asked.append(1)
        return pace

    assert speed.remembered_pace(pico_outline, ROWS, "cpu", "bf16", measure) == pace
    assert speed.remembered_pace(pico_outline, ROWS, "cpu", "bf16", measure) == pace
    assert speed.remembered_pace(pico_outline, ROWS + 1, "cpu", "bf16", measure) == pace
    assert len(asked) == 2


def test_seconds_are_read_between_points():
    pace = speed.Pace(((0.2, 0.4), (0.6, 0.8)))
    assert pace.seconds_ratio(0.4) == pytest.approx(0.6)
    assert pace.seconds_ratio(0.8) == pytest.approx(0.9)
    assert pace.seconds_ratio(1.0) == 1.0


def test_a_pace_is_measured_on_a_real_model(pico_host):
    import torch

    from intarsia.hosts import pico

    given = {name: torch.ones(value.shape) for name, value in pico_host.inputs(batch=2, tokens=pico.TOKENS).items()}

    def run():
        return [pico_host.module(**given | {"timestep": 99 - row}) for row in range(ROWS)]

    pace = speed.measure_pace(pico_host, ROWS, run, rounds=2)
    assert [macs for macs, _ in pace.points] == sorted(macs for macs, _ in pace.points)
    assert all(0 < seconds < 1.3 for _, seconds in pace.points)


@pytest.mark.parametrize("off", [0.85, 1.0, 1.2])
def test_a_factor_is_met_though_the_pace_is_off(pico_outline, off):
    """The line between measured points misleads; what is measured at the plan itself corrects it."""
    rows = 20
    pace = speed.Pace(((0.1, 0.15), (0.5, 0.55)))

    def timed(plan):
        return off / pace.seconds_ratio(price(resolve(plan, pico_outline)).macs_ratio)

    plan, measured = speed.plan_at_speed(pico_outline, rows, pace, 2.0, timed)
    assert measured == timed(plan)
    assert abs(measured / 2.0 - 1) < 0.08


PACE = speed.Pace(((0.3, 0.35), (0.5, 0.55)))


@pytest.mark.parametrize("off", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("rows", [2, 6, 10])
@pytest.mark.parametrize("factor", [1.1, 1.3, 1.45, 1.6, 2.0, 2.2, 2.6])
def test_a_factor_is_met_or_said_to_lie_between_two_rungs(pico_outline, rows, factor, off):
    """With few calls rungs lie further apart than a tenth; the nearest of all is found, and what is beside it told."""
    rungs = speed.ladder(pico_outline, rows)[:-1]

    def timed(plan):
        return off / PACE.seconds_ratio(price(resolve(plan, pico_outline)).macs_ratio)

    factors, asked, said = [timed(plan) for plan in rungs], [], []
    nearest = min(factors, key=lambda one: abs(one - factor))
    near = abs(nearest / factor - 1) <= 0.1
    try:
        plan, measured = speed.plan_at_speed(
            pico_outline, rows, PACE, factor, lambda plan: (asked.append(plan), timed(plan))[1], say=said.append
        )
    except FitError as refusal:
        most = max(factors) if asked else max(factors) / off  # what the pace says, if that is too little already
        assert factor > most
        assert not (asked and near)
        assert f"{most:.2f}x is the most for {rows} calls" in str(refusal)
        return
    assert measured == timed(plan)
    assert len(asked) == len({str(plan.rules) for plan in asked}), "no plan is timed twice"
    if near:
        assert measured == nearest or abs(measured / factor - 1) < speed.CLOSE
        assert not said
        return
    assert measured == nearest
    beside = [one for one in [*factors, 1.0] if (one > factor) != (nearest > factor)]
    expected = (nearest, min(beside, key=lambda one: abs(one - factor)), max(factors))
    assert re.findall(r"([\d.]+)x is the nearest, ([\d.]+)x the next, ([\d.]+)x the most", said[0]) == [
        tuple(f"{one:.2f}" for one in expected)
    ]


def test_a_factor_out_of_reach_is_refused_before_anything_is_timed(pico_outline):
    with pytest.raises(FitError, match="out of reach"):
        speed.plan_at_speed(pico_outline, 20, speed.Pace(((0.1, 0.4),)), 5.0, pytest.fail)


def test_a_factor_is_read_back_as_macs():
    pace = speed.Pace(((0.1, 0.2), (0.5, 0.6)))
    for factor in (1.1, 1.6667, 2.5, 5.0):
        assert 1 / pace.seconds_ratio(pace.macs_ratio(factor)) == pytest.approx(factor)
    with pytest.raises(FitError, match=r"5\.00x is the most"):
        pace.macs_ratio(6.0)
