"""What is measured of one kit, row by row; rows are kept, and found again by weights, settings and pictures."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory.rivals import Chooser, plain
from benchmarks.factory.scenarios import beside, score, timed
from benchmarks.factory.timing import fastest_over_dense
from benchmarks.factory.worlds import World
from benchmarks.keeping import kept_row
from benchmarks.results import versions
from intarsia import factory
from intarsia.factory import Kit, Ranking, Task
from intarsia.factory.audit import accuracies, whose
from intarsia.graphs.exporting import digest_of
from intarsia.rig.machine import machine
from intarsia.train import seed_everything
from recipes.kits import looks_of
from recipes.shipping import commit

WITH_RIVALS = ("seen", "unseen")  # parts; of others it is only told whose units do how well
FEWER = 3  # shares at which rivals are trained for seeds other than the first
LARGE, CALLS = 10_000_000, 100  # below so many MACs a moment of the machine's is a tenth of a call, so more are timed


class Stage(StrEnum):
    """What can be run by itself."""

    timing = "timing"
    parts = "parts"
    rivals = "rivals"


@dataclass(frozen=True)
class Seed:
    """A kit of one seed, and everything that is told of it.

    Attributes:
        runs: Where rows are kept, in the repository: they may be of different days.
        devices: Where this machine's measurements are.
        training: Seconds of the kit's training, where its card says.
    """

    world: World
    kit: Kit
    seed: int
    runs: Path
    devices: Path
    training: float | None
    settings: Mapping[str, Any]

    @cached_property
    def kept(self) -> Path:
        """The folder of rows of a kit of these weights, under these settings, with these pictures."""
        seed_everything(0)
        shown = [self.world.lessons.tasks(0), *(self.world.exam(tasks[0]) for tasks in self.tasks.values())]
        told = [sorted(self.settings.items()), weights_of(self.kit), *(looks_of(pictures) for pictures, *_ in shown)]
        name = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
        return self.runs / f"{self.world.name}-{self.seed}-{name}"

    @cached_property
    def in_use(self) -> Kit:
        """The kit as users have it: only of that are seconds of models told."""
        return factory.folded(self.kit)

    def kit_for(self, kind: str) -> Kit:
        """The kit for rows of a kind: rivals train its models, and what is folded is not for training."""
        return self.in_use if kind == Stage.timing else self.kit

    @cached_property
    def clock(self) -> factory.WallClock:
        few = self.settings["quick"] or self.kit.host.outline.macs >= LARGE
        return factory.WallClock(calls=20 if few else CALLS)

    def device(self, kind: str) -> factory.Device:
        """This machine, measured once for rows of each kind: only for `timing` need it be quiet."""
        path, subnets = self.devices / self.kept.name / f"{kind}.yaml", 24 if self.settings["quick"] else 64
        if not path.exists():
            measured = factory.meter_device(self.kit_for(kind).host, subnets=subnets, seed=self.seed, clock=self.clock)
            factory.save_device(measured, path)
        return factory.load_device(path)

    @cached_property
    def tasks(self) -> dict[str, list[Task]]:
        """Tasks by part; fewer in a rehearsal."""
        quick = self.settings["quick"]
        return {
            part: all_[: 2 * self.settings["trained"]] if quick else all_ for part, all_ in self.world.tasks.items()
        }

    @cached_property
    def dense(self) -> dict[str, list[float]]:
        """By part, how good the largest model of each task is."""
        kit, largest = self.kit, (self.kit.highest,)

        def rates(tasks: Sequence[Task]) -> dict[str, object]:
            own = {"own": kit.assembler.rank(tasks, kit.grounds)}
            return {"rates": accuracies(kit, tasks, own, self.world.exam, largest)["own"][:, 0].tolist()}

        return {
            part: kept_row(self.kept / f"{part}-dense.json", partial(rates, tasks))["rates"]
            for part, tasks in self.tasks.items()
        }

    def rows(self, blind: Kit | None, stages: Sequence[Stage]) -> list[dict]:
        """All rows of these stages. What was kept is found.

        Args:
            blind: A kit whose assembler is told nothing, if there is one.
        """
        rows = []
        if Stage.timing in stages:
            timings = self.scenarios("timing")
            rows += [kept_row(self.kept / "device.json", here(self.device_row)), *timings, self.orders_row(timings)]
        if Stage.parts in stages:
            if self.world.plain and not self.settings["quick"]:
                rows.append(kept_row(self.kept / "plain.json", here(self.plain_row)))
            for part in self.tasks:
                rows += self.part_rows(part, blind)
        if Stage.rivals in stages:
            rows += self.scenarios("rivals")
        return rows

    def scenarios(self, kind: str) -> list[dict]:
        """A row of this kind for each scenario."""
        shares, rows = self.settings["shares"], []
        every = self.seed == 0 or kind == Stage.timing
        some = shares if every else [shares[place] for place in spread(len(shares), FEWER)]
        for part in WITH_RIVALS:
            for place in middling(self.dense[part], self.settings["trained"]):
                for share in some:
                    asked = self.kit_for(kind), self.tasks[part][place], share, self.device(kind), self.clock
                    making = (
                        partial(timed, *asked) if kind == "timing"
                        else partial(beside, self.world, *asked, self.settings["patience"])
                    )  # fmt: skip
                    row = kept_row(self.kept / f"{kind}-{part}-{place}-{share:g}.json", here(making))
                    rows.append({"kind": kind, "seed": self.seed, "part": part, **row})
        return rows

    def device_row(self) -> dict[str, object]:
        """How well this machine's seconds are predicted, and how fast the fastest model is."""
        if self.training is None:
            raise SystemExit("the kit's card does not say how long it was trained; run its recipe anew.")
        device, first = self.device(Stage.timing), self.tasks["seen"][0]
        judged = device.scores["seconds"]
        return {
            "kind": "device", "seed": self.seed, "macs": self.kit.host.outline.macs, "training seconds": self.training,
            "spearman": judged.spearman, "error_95": judged.error_95, "within_10": judged.within_10,
            "held out": device.held_out, "fastest over dense": fastest_over_dense(self.in_use, first, self.clock),
        }  # fmt: skip

    def orders_row(self, timings: Sequence[Mapping[str, Any]]) -> dict[str, object]:
        """How many of the orders of seconds were met: those for less than the smallest model takes are refused."""
        met = sum("refused" not in row["in seconds"] for row in timings)
        return {"kind": "orders", "seed": self.seed, "orders of seconds": len(timings), "met": met / len(timings)}

    def plain_row(self) -> dict[str, object]:
        """By part, how often a plain model is right."""
        whole = plain(self.world, self.world.plain, self.seed)
        found: dict[str, object] = {"kind": "plain", "seed": self.seed, "training seconds": self.world.plain}
        for part, tasks in self.tasks.items():
            found[part] = float(np.mean([score(self.world, Chooser(whole, self.world, task), task) for task in tasks]))
        return found

    def part_rows(self, part: str, blind: Kit | None) -> list[dict]:
        """For each share, how good models of a part's tasks are by whose units they have: the mean over tasks."""
        kit, tasks, shares = self.kit, self.tasks[part], self.settings["shares"]

        def ours() -> dict[str, object]:
            near = kit.assembler.rank([nearest(task, self.world.known) for task in tasks], kit.grounds)
            rankings = whose(kit, tasks, seed=self.seed) | {
                "nearest": [replace(one, answers=task.answers) for one, task in zip(near, tasks, strict=True)]
            }
            return rates_of(kit, rankings)

        def rates_of(kit: Kit, rankings: Mapping[str, list[Ranking]]) -> dict[str, object]:
            found = accuracies(kit, tasks, rankings, self.world.exam, shares)
            return {"rates": {way: rates.mean(0).tolist() for way, rates in found.items()}}

        def blindly(other: Kit) -> dict[str, object]:
            return rates_of(other, {"blind": other.assembler.rank(tasks, other.grounds)})

        made = kept_row(self.kept / f"{part}.json", here(ours))
        rates = made.pop("rates")
        if blind is not None:
            path = self.kept / f"{part}-blind-{weights_of(blind)[:12]}.json"
            rates |= kept_row(path, here(partial(blindly, blind)))["rates"]
        return [
            {"kind": "part", "seed": self.seed, "part": part, "tasks": len(tasks), "share": share, **made,
             "dense": float(np.mean(self.dense[part])), **{way: each[column] for way, each in rates.items()}}
            for column, share in enumerate(shares)
        ]  # fmt: skip


def here(make: Callable[[], dict[str, object]]) -> Callable[[], dict[str, object]]:
    """A row that says where, with what and when in the project's history it was made: others may be of other days."""
    return lambda: {"machine": machine()["device"], "commit": commit(), "versions": versions(), **make()}


def weights_of(kit: Kit) -> str:
    """A fingerprint of a kit's weights: those of its supernet and of its assembler."""
    whole = digest_of(kit.host.module) + digest_of(kit.assembler)
    return hashlib.sha256(whole.encode()).hexdigest()


def spread(among: int, count: int) -> list[int]:
    """So many places of so many, as far apart as can be."""
    return sorted(set(np.linspace(0, among - 1, count).round().astype(int).tolist()))


def middling(rates: Sequence[float], count: int) -> list[int]:
    """The places of so many rates that are nearest to the middle one."""
    first = (len(rates) - min(count, len(rates))) // 2
    return sorted(np.argsort(rates, kind="stable")[first : first + count].tolist())


def nearest(task: Task, known: Sequence[Task]) -> Task:
    """The most similar other task: most parts shared over parts of either."""

    def alike(other: Task) -> float:
        ours, theirs = set(task.parts), set(other.parts)
        return len(ours & theirs) / len(ours | theirs)

    return max((other for other in known if other != task), key=alike)
