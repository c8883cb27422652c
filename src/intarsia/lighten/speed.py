"""From "twice as fast" to a plan: seconds are measured on this machine once, and remembered.

MACs do not tell seconds, so a few plans of different MACs are timed beside the whole model. Between them the
ratio of seconds is read off a line.
"""

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import FitError
from ..plan import Extrapolate, Outline, Plan, price, resolve
from ..plan.outline import HOST
from ..rig import Host, applied, measure_seconds
from ..rig.machine import machine
from ..saving import cache_folder, replace_text
from .inherit import branch_site, inherit
from .modes import even

ROUNDS = 3
CLOSE = 0.04  # of the factor asked for; rungs of twenty calls lie about so far apart
NEAR = 0.1  # what is farther off is said
WHOLE = "whole"
DAMPING = 0.7  # of the step along the line: with samplers that add noise the whole step strays; benchmarks/ladder
ENTERED = 0.6  # of the MACs, from which on every call is entered


@dataclass(frozen=True)
class Pace:
    """How seconds follow MACs for one model on one machine: ratios to the whole model, least MACs first."""

    points: tuple[tuple[float, float], ...]

    def seconds_ratio(self, macs_ratio: float) -> float:
        """Seconds over the whole model's, read off between the measured points."""
        known = [*self.points, (1.0, 1.0)]
        for (low, low_seconds), (high, high_seconds) in itertools.pairwise(known):
            if macs_ratio <= high and high > low:
                along = (macs_ratio - low) / (high - low)
                return low_seconds + along * (high_seconds - low_seconds)
        return 1.0

    def macs_ratio(self, factor: float) -> float:
        """The share of MACs at which a plan is expected to be so many times as fast.

        Raises:
            FitError: no share is.
        """
        known = [*self.points, (1.0, 1.0)]
        for (low, low_seconds), (high, high_seconds) in itertools.pairwise(known):
            if low_seconds <= 1 / factor <= high_seconds:
                return low + (high - low) * (1 / factor - low_seconds) / (high_seconds - low_seconds)
        raise FitError(f"{factor:g}x is out of reach by inheritance: {1 / known[0][1]:.2f}x is the most.")


def ladder(outline: Outline, rows: int) -> list[Plan]:
    """Plans from the fastest to the whole model: rows computed, evenly spread, and the rest told along the line.

    Where much may be computed, the last layers are, in every call, and what is fed into them is told; where less may,
    whole calls are told, so that more of them can be computed.
    """
    told = {HOST: range(1, rows), branch_site(outline, 0): range(1, rows + 1)}
    priced = []
    for site, counts in told.items():
        for count in counts:
            plan = inherit(rows, sites=site, keys=even(rows, count), forecast=Extrapolate(order=1, damping=DAMPING))
            ratio = price(resolve(plan, outline)).macs_ratio
            if (ratio < ENTERED) == (site == HOST):
                priced.append((ratio, plan))
    return [plan for _, plan in sorted(priced, key=lambda pair: pair[0])]


def measure_pace(host: Host, rows: int, run: Callable[[], object], rounds: int = ROUNDS) -> Pace:
    """Time a few rungs of the ladder beside the whole model."""
    plans = ladder(host.outline, rows)
    rungs = sorted({0, *((len(plans) - 1) * part // 6 for part in (1, 2, 4))})

    def under(plan: Plan) -> Callable[[], object]:
        def call() -> object:
            with applied(plan, host):
                return run()

        return call

    candidates: dict[str, Callable[[], object]] = {WHOLE: run}
    candidates |= {str(rung): under(plans[rung]) for rung in rungs}
    seconds = measure_seconds(candidates, rounds=rounds)
    points = [(price(resolve(plans[r], host.outline)).macs_ratio, seconds.ratio(str(r))[0]) for r in rungs]
    return Pace(tuple(points))


def plan_for_speed(outline: Outline, rows: int, pace: Pace, factor: float) -> tuple[Plan, float]:
    """The plan that computes the most rows and is still `factor` times as fast as the whole model.

    Returns:
        The plan, and the factor that is expected of it.

    Raises:
        FitError: no plan of the ladder is so fast; says what the most is.
    """
    fastest = 0.0
    for plan in reversed(ladder(outline, rows)):
        expected = 1 / pace.seconds_ratio(price(resolve(plan, outline)).macs_ratio)
        fastest = max(fastest, expected)
        if expected >= factor:
            return plan, expected
    raise out_of_reach(factor, fastest, rows)


def out_of_reach(factor: float, most: float, rows: int) -> FitError:
    """The refusal of a factor that no plan of the ladder has."""
    return FitError(
        f"{factor:g}x is out of reach by inheritance: {most:.2f}x is the most for {rows} calls on this machine. "
        "Ask for less, or take fewer steps."
    )


def plan_at_speed(
    outline: Outline,
    rows: int,
    pace: Pace,
    factor: float,
    timed: Callable[[Plan], float],
    *,
    say: Callable[[str], None] = lambda text: None,
    tries: int = 3,
) -> tuple[Plan, float]:
    """The plan that is found to be `factor` times as fast, within a few hundredths where the ladder has such a rung.

    Args:
        timed: How many times faster than the whole model a plan is, measured now.
        say: Hears of it if no rung is within a tenth of the factor.
        tries: How many plans are timed where the pace points, before those beside the nearest are.

    Returns:
        The plan that came nearest, and its measured factor.

    Raises:
        FitError: no plan of the ladder is so fast, nor within a tenth of it; says what the most is.
    """
    rungs = ladder(outline, rows)
    measured: dict[int, float] = {}

    def off(rung: int) -> float:
        return abs(measured[rung] / factor - 1)

    def reaching(aim: float) -> int:
        with contextlib.suppress(FitError):
            return min(rungs.index(plan_for_speed(outline, rows, pace, aim)[0]), len(rungs) - 2)
        return 0

    def toward(rung: int) -> int:
        return rung + 1 if measured[rung] > factor else rung - 1

    plan_for_speed(outline, rows, pace, factor)  # refuses before anything is timed
    aim, rung = factor, reaching(factor)
    while rung not in measured and len(measured) < tries:
        measured[rung] = timed(rungs[rung])
        aim *= factor / measured[rung]
        rung = rung if off(rung) < CLOSE else reaching(aim)
    while off(rung := min(measured, key=off)) > CLOSE:
        beside = toward(rung)
        if beside in measured or beside not in range(len(rungs) - 1):
            break
        measured[beside] = timed(rungs[beside])
    if off(rung) > NEAR:
        if 0 not in measured:
            measured[0] = timed(rungs[0])
        most = max(measured.values())
        if most < factor:
            raise out_of_reach(factor, most, rows)
        say(
            f"no plan of {rows} calls is within a tenth of {factor:g}x: {measured[rung]:.2f}x is the nearest, "
            f"{measured.get(toward(rung), 1):.2f}x the next, {most:.2f}x the most. More steps allow of finer plans."
        )
    return rungs[rung], measured[rung]


def remembered_pace(outline: Outline, rows: int, device: str, about: str, measure: Callable[[], Pace]) -> Pace:
    """The pace of this model at this size on this machine, measured only if it is not known yet.

    Args:
        about: What else seconds depend on: precision, scheduler, how many pictures are drawn at once.
    """
    place = cache_folder() / f"pace-{key_of(outline, rows, device, about)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return Pace(tuple((macs, seconds) for macs, seconds in json.loads(place.read_text())["points"]))
    pace = measure()
    replace_text(place, json.dumps({"points": pace.points, **machine(device)}, indent=1) + "\n")
    return pace


def key_of(outline: Outline, rows: int, device: str, about: str) -> str:
    """Names a model at a size on a machine."""
    known = [outline.shape_hash, sorted(outline.inputs.items()), rows, sorted(machine(device).items()), about]
    return hashlib.sha256(json.dumps(known, default=list).encode()).hexdigest()[:16]
