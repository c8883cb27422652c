"""What the rows of `run` are held against."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.factory.timing import order_seconds
from benchmarks.factory.worlds import World
from benchmarks.results import Claim, above, at_least, at_most
from intarsia.factory.fulfil import MEASUREMENTS

KEPT = 0.97  # of a plain model's accuracy
UNSEEN = 2.0  # points by which tasks that were not trained may be below those that were
NOISE = 0.05  # by which two measurements of one model differ on a quiet machine
MET = 0.5  # share of orders of seconds: the smallest model that was trained for is a floor under the others


def claims_of(world: World, rows: Sequence[dict]) -> list[Claim]:
    """Of accuracy, of seconds, and of what is paid for them."""
    kinds = ("part", "timing", "rivals", "device", "plain", "orders")
    parts, timings, rivals, devices, plain, orders = ([row for row in rows if row["kind"] == kind] for kind in kinds)
    return [
        *of_accuracy(world, parts, plain), *beside_plain(parts, plain), *beside_rivals(rivals),
        *of_seconds(timings, devices), *of_orders(orders), *of_cost(rivals, devices),
    ]  # fmt: skip


def mean_of(rows: Sequence[dict], column: str, **of: object) -> float:
    """The mean of a column, over the rows of which all this is true."""
    return float(np.mean([row[column] for row in rows if all(row[name] == value for name, value in of.items())]))


def beside_plain(parts: Sequence[dict], plain: Sequence[dict]) -> list[Claim]:
    """Did learning many models at once cost the largest one anything?"""
    if not plain:
        return []
    largest, alone = mean_of(parts, "dense", part="seen"), mean_of(plain, "seen")
    return [at_least("accuracy of the kit's largest model over that of a plain one, seen", largest / alone, KEPT)]


def of_accuracy(world: World, parts: Sequence[dict], plain: Sequence[dict]) -> list[Claim]:
    """Do small models keep what the whole could, and do the gates know the task?

    The whole is the kit's largest model or a plain one, whichever is better.
    """
    shares, things = sorted({row["share"] for row in parts}), world.space.things

    def whole(part: str) -> float:
        return max([mean_of(parts, "dense", part=part), *([mean_of(plain, part)] if plain else [])])

    claims = [
        at_least(f"accuracy at {share:.0%} of the MACs over that of the whole, {part}",
                 mean_of(parts, "own", part=part, share=share) / whole(part), target)
        for part in (("seen", "unseen") if things else ("seen",))
        for share, target in world.kept.items()
        if share in shares
    ]  # fmt: skip
    if not things:  # there the pairs that were not seen are of a harder kind: they are held against themselves
        falls = [
            100 * (mean_of(parts, "own", part="seen", share=share) - mean_of(parts, "own", part="unseen", share=share))
            for share in shares
        ]
        claims.append(at_most("points by which unseen tasks are below seen ones, the worst share", max(falls), UNSEEN))
    low = [row for row in parts if row["share"] in shares[:2] and row["part"] == "seen"]

    def least(way: str) -> float:
        return min(100 * (row["own"] - row[way]) for row in low)

    said = "points above {} units at the two lowest budgets, the worst seed"
    if world.apart is None:
        return [*claims, above(said.format("random"), least("random"), 0.0)]
    return [*claims, *(at_least(said.format(way), least(way), world.apart) for way in ("random", "another's", "mean"))]


def beside_rivals(rivals: Sequence[dict]) -> list[Claim]:
    """Is what is ordered better than what is pruned in the same time? At the largest share nothing has to go."""
    shares = sorted({row["share"] for row in rivals})[:-1]
    gains = [
        100 * (mean_of(rivals, "ours", share=share) - mean_of(rivals, "pruned equal", share=share)) for share in shares
    ]
    said = "points above pruning by magnitude given equal seconds, the worst share"
    return [above(said, min(gains), 0.0)] if gains else []


def of_orders(orders: Sequence[dict]) -> list[Claim]:
    """Are there models for most shares of the largest one's seconds?"""
    met = min(row["met"] for row in orders)
    return [at_least("share of the orders of seconds that were met, the worst seed", met, MET)]


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
