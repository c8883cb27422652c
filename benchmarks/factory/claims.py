"""What the rows of `run` are held against."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.factory.timing import order_seconds
from benchmarks.factory.worlds import World
from benchmarks.results import Claim, at_least, at_most
from intarsia.factory.fulfil import MEASUREMENTS

KEPT = 0.97  # of a plain model's accuracy
NOISE = 0.05  # by which two measurements of one model differ on a quiet machine


def claims_of(world: World, rows: Sequence[dict]) -> list[Claim]:
    """Of accuracy, of seconds, and of what is paid for them."""
    kinds = ("part", "timing", "rivals", "device", "plain")
    parts, timings, rivals, devices, plain = ([row for row in rows if row["kind"] == kind] for kind in kinds)
    return [
        *of_accuracy(world, parts, rivals), *beside_plain(parts, plain), *of_seconds(timings, devices),
        *of_cost(rivals, devices),
    ]  # fmt: skip


def beside_plain(parts: Sequence[dict], plain: Sequence[dict]) -> list[Claim]:
    """Did learning many models at once cost the largest one anything?"""
    if not plain:
        return []
    largest = float(np.mean([row["dense"] for row in parts if row["part"] == "seen"]))
    alone = float(np.mean([row["seen"] for row in plain]))
    return [at_least("accuracy of the kit's largest model over that of a plain one, seen", largest / alone, KEPT)]


def of_accuracy(world: World, parts: Sequence[dict], rivals: Sequence[dict]) -> list[Claim]:
    """Do small models keep what the largest could, and do the gates know the task?"""
    shares = sorted({row["share"] for row in parts})

    def mean(way: str, part: str = "seen", *at: float) -> float:
        return float(np.mean([row[way] for row in parts if row["part"] == part and row["share"] in (at or shares)]))

    claims = [
        at_least(f"accuracy at {share:.0%} of the MACs over that of the kit's largest model, seen",
                 mean("own", "seen", share) / mean("dense", "seen", share), target)
        for share, target in world.kept.items()
        if share in shares
    ]  # fmt: skip
    if not world.space.things:  # there the pairs that were not seen are of a harder kind, which is told only
        claims.append(at_most("points by which unseen tasks are below seen ones",
                              100 * (mean("own") - mean("own", "unseen")), 2.0))  # fmt: skip
    low = [row for row in parts if row["share"] in shares[:2] and row["part"] == "seen"]
    asked = {"random": world.apart or 0.0} | ({"another's": world.apart, "mean": world.apart} if world.apart else {})
    claims += [
        at_least(f"points above {way} units at the two lowest budgets, the worst seed",
                 min(100 * (row["own"] - row[way]) for row in low), points)
        for way, points in asked.items()
    ]  # fmt: skip
    above = 100 * float(np.mean([row["ours"] - row["pruned equal"] for row in rivals]))
    return [*claims, at_least("points above pruning by magnitude given equal seconds, mean", above, 0.0)]


def of_seconds(timings: Sequence[dict], devices: Sequence[dict]) -> list[Claim]:
    """Are budgets kept, seconds predicted, and models exported as they are? Not if no order was met."""
    timed = [row["in seconds"] for row in timings if "refused" not in row["in seconds"]]
    return [
        at_most("models over their budget of MACs", float(sum(row["over budget"] for row in timings)), 0.0),
        at_most("models that another runtime answers otherwise",
                float(sum("not exported" in row for row in timings)), 0.0),
        at_most(f"models over their budget of seconds by more than {NOISE:.0%} when measured afresh",
                float(sum(one["afresh over budget"] > 1 + NOISE for one in timed)), 0.0),
        at_most("models measured for an order of seconds, most",
                max((one["measured"] for one in timed), default=math.inf), float(MEASUREMENTS)),
        at_most("seconds to assemble and bake, worst", max(row["assemble"] + row["bake"] for row in timings), 1.0),
        at_most("seconds from an order of seconds to its measured model, worst", 
                max(map(order_seconds, timed), default=math.inf), 5.0),
        at_least("rank correlation of predicted and measured seconds, worst seed",
                 min(row["spearman"] for row in devices), 0.95),
        at_least("share of held-out models predicted within 10 %, worst seed",
                 min(row["within_10"] for row in devices), 0.95),
    ]  # fmt: skip


def of_cost(rivals: Sequence[dict], devices: Sequence[dict]) -> list[Claim]:
    """What does training one model cost beside ordering it, in the same minutes?"""
    ours = [row["assemble"] + row["bake"] for row in rivals]
    every = [order_seconds(row) for row in rivals]
    # Trainings that never got there took longer than their patience: the ratio is then too low, never too high.
    needed = [row["scratch reached"] or row["scratch seconds"] for row in rivals]
    training = statistics.median(row["training seconds"] for row in devices)
    saved = statistics.median(needed) - statistics.median(every)

    def over(seconds: Sequence[float]) -> float:
        return statistics.median(long / short for long, short in zip(needed, seconds, strict=True))

    return [
        at_least("seconds of training to within a point over seconds to assemble and bake, median", over(ours), 100.0),
        at_least("seconds of training to within a point over seconds from order to measured model, median",
                 over(every), 10.0),
        at_most("scenarios after which a kit has paid for its training", training / max(saved, 1e-9), 1000.0),
    ]  # fmt: skip
