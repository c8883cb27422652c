"""One ranking of all units, and the cut through it that a budget affords: the same in training and in use.

A ranking begins with the best units of every site that has to be there, so that no cut empties a layer (a cut without
such a minimum did, in a prototype, and left chance). A block that can be left out is a unit too, and comes before those
inside it, together with the best of them: half of a model's seconds are those of calling its layers, however thin, so
a thin block is none. Whatever is affordable is a beginning of the ranking, so tighter budgets nest.

Source: NN-Factory (Xu et al. 2023) asks a generator for gates at a budget, which they then miss by a little; a
ranking cut on cumulative costs meets any budget exactly, and one generation serves all.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import FitError
from ..plan import Keep, Outline, Plan, Rule, Skip

LEAST = 1  # units that a site keeps which has to be there
THIN = 4  # the share of its units, one in so many, that a site keeps in a block that might be left out


@dataclass(frozen=True)
class Grounds:
    """The gated sites of a host, their units numbered through, and what any number of them costs.

    Attributes:
        outline: The host's.
        sites: The sites that are ranked, in running order.
        answers: The site whose units are answers, of which the task decides; None if there is none.
    """

    outline: Outline
    sites: tuple[str, ...]
    answers: str | None

    @classmethod
    def of(cls, outline: Outline, answers: str | None) -> "Grounds":
        """The grounds of a host."""
        return cls(outline, tuple(site.path for site in outline.sites if site.units and site.path != answers), answers)

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """(sites): how many units each has."""
        return np.array([self.outline.by_path[path].units for path in self.sites])

    @cached_property
    def site_of(self) -> NDArray[np.int64]:
        """(units): the number of the site that each unit is of."""
        return np.repeat(np.arange(len(self.sites)), self.units)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(sites): the number of each site's first unit."""
        return np.concatenate([[0], np.cumsum(self.units)[:-1]])

    @cached_property
    def block_of(self) -> NDArray[np.int64]:
        """(sites): the number of the block around each that can be left out, its own for that block; -1 for none."""
        number = {path: place for place, path in enumerate(self.sites)}
        around = np.full(len(self.sites), -1)
        for block in self.outline.sites:
            if block.path in number and block.skip != "never":
                around[[number[path] for path in (block.path, *block.parts)]] = number[block.path]
        return around

    @cached_property
    def least(self) -> NDArray[np.int64]:
        """(sites): how many units each keeps at least where its block is not left out."""
        return np.where(self.block_of < 0, np.minimum(self.units, LEAST), -(-self.units // THIN))

    @cached_property
    def always(self) -> NDArray[np.int64]:
        """(sites): how many units of each are in every model."""
        return np.where(self.block_of < 0, self.least, 0)

    def allows(self, counts: NDArray[np.int64]) -> bool:
        """Whether models can keep so many units of each site, (models, sites)."""
        there = (self.block_of < 0) | (counts[:, self.block_of] > 0)
        return bool(((there * self.least <= counts) & (counts <= there * self.units)).all())

    @cached_property
    def every_answer(self) -> tuple[int, ...]:
        """All answers that the host can give."""
        return tuple(range(self.outline.by_path[self.answers].units)) if self.answers is not None else ()

    @cached_property
    def floor(self) -> float:
        """The share of the MACs of what is in every model: no budget below it can be met."""
        least = self.costs(self.always[None], len(self.every_answer))["macs"][0]
        return float(least / self.outline.macs)

    def costs(self, counts: NDArray[np.int64], answers: int) -> dict[str, NDArray[np.int64]]:
        """MACs, parameters and bytes of models.

        Args:
            counts: (models, sites): units that each keeps.
            answers: Answers that all of them keep.
        """
        whole = {path: int(units) for path, units in zip(self.sites, self.units, strict=True)}
        left: dict[str, NDArray[np.int64] | int] = {path: counts[:, place] for place, path in enumerate(self.sites)}
        if self.answers is not None:
            whole[self.answers] = self.outline.by_path[self.answers].units
            left[self.answers] = answers
        outline = self.outline
        sums = {name: np.full(len(counts), getattr(outline, name), np.int64) for name in ("macs", "params", "bytes")}
        for price in outline.prices:
            gone = np.prod([whole[path] for path in price.kept]) - np.multiply.reduce(
                [left[path] * np.ones(len(counts), np.int64) for path in price.kept]
            )
            for name in sums:
                sums[name] -= gone * getattr(price, name)
        return sums


@dataclass(frozen=True)
class Ranking:
    """All units of a host in the order in which a growing budget takes them in.

    Attributes:
        grounds: The host's.
        order: (units): numbers of units; those that are in every model before all others, and each block that can be
            left out next to what it keeps at least.
        worth: (units): the score that each has its place by; infinite for those that are in every model.
        answers: The answers that the models keep, which no budget changes.
    """

    grounds: Grounds
    order: NDArray[np.int64]
    worth: NDArray[np.floating]
    answers: tuple[int, ...]

    @classmethod
    def by_score(cls, grounds: Grounds, scores: NDArray[np.floating], answers: tuple[int, ...] = ()) -> "Ranking":
        """Rank by falling score; of equal scores the lower number goes first.

        What is inside a block that can be left out is worth no more than the block, and what that keeps at least is
        worth as much.

        Args:
            scores: (units).
        """
        falling, site_of = np.argsort(-scores, kind="stable"), grounds.site_of
        nth = np.empty(len(scores), np.int64)  # which of its site's units each is, best first
        for site in range(len(grounds.sites)):
            own = falling[site_of[falling] == site]
            nth[own] = np.arange(len(own))
        block, first = grounds.block_of[site_of], nth < grounds.least[site_of]
        of_block = np.where(block < 0, np.inf, scores[grounds.starts[block]])
        worth = np.where(first, of_block, np.minimum(scores, of_block))
        order = np.lexsort((-scores, ~first, block, -worth))
        return cls(grounds, order, worth, answers)

    @property
    def least(self) -> int:
        """How long the shortest beginning is: that of what is in every model."""
        return int(self.grounds.always.sum())

    @cached_property
    def passed(self) -> NDArray[np.int64]:
        """(places, sites): units of each site before every place in the order, and after the last."""
        taken = np.zeros((len(self.order) + 1, len(self.grounds.sites)), np.int64)
        taken[np.arange(1, len(self.order) + 1), self.grounds.site_of[self.order]] = 1
        return np.cumsum(taken, axis=0)

    @cached_property
    def brought(self) -> NDArray[np.bool_]:
        """(places): whether a unit is in because its block is, and not for its own sake; the block itself too."""
        sites = self.grounds.site_of[self.order]
        passed = self.passed[np.arange(len(self.order)), sites]
        return (self.grounds.block_of[sites] >= 0) & (passed < self.grounds.least[sites])

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """The numbers of the units that blocks keep at least, without the blocks."""
        sites = self.grounds.site_of[self.order]
        return self.order[self.brought & (self.grounds.block_of[sites] != sites)]

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """(places): where a beginning that is to end at each ends: never between a block and what it keeps at least."""
        places = np.arange(len(self.order) + 1)
        block, brought = self.grounds.block_of[self.grounds.site_of[self.order]], self.brought
        between = brought[1:] & brought[:-1] & (block[1:] == block[:-1])
        ends = places.copy()
        ends[1:-1][between] = places[-1]
        return np.minimum.accumulate(ends[::-1])[::-1]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(beginnings, sites): units of each site in every beginning, from the shortest on."""
        return self.passed[self.ends][self.least :]

    @cached_property
    def costs(self) -> dict[str, NDArray[np.int64]]:
        """MACs, parameters and bytes of every beginning, from the shortest on."""
        return self.grounds.costs(self.counts, len(self.answers))

    def cut(self, afforded: NDArray[np.bool_]) -> int | None:
        """The length of the longest beginning such that it and all shorter ones are afforded; None if none is.

        Args:
            afforded: (beginnings): from the shortest on.
        """
        if not afforded[0]:
            return None
        refused = np.flatnonzero(~afforded)
        return self.least + int(refused[0] - 1 if len(refused) else len(afforded) - 1)

    def cut_at_share(self, share: float) -> int:
        """The cut that a share of the MACs affords, and at least the minimum: what training cuts at."""
        return self.cut(self.costs["macs"] <= share * self.costs["macs"][-1]) or self.least

    def threshold(self, length: int) -> float:
        """The worth halfway between the last unit of a beginning and the next; of that one where nothing was chosen."""
        if length == len(self.order):
            return -np.inf
        out = self.worth[self.order[length]]
        return float(out if length <= self.least else (self.worth[self.order[length - 1]] + out) / 2)

    def beginning(self, length: int) -> NDArray[np.int64]:
        """The numbers of the units of a beginning, ascending."""
        return np.sort(self.order[: self.ends[length]])

    def kept(self, length: int) -> dict[str, tuple[int, ...]]:
        """The units that a beginning keeps, by site, and the answers."""
        chosen = self.beginning(length)
        sites = self.grounds.site_of[chosen]
        kept = {
            path: tuple((chosen[sites == place] - self.grounds.starts[place]).tolist())
            for place, path in enumerate(self.grounds.sites)
        }
        return kept | ({self.grounds.answers: self.answers} if self.grounds.answers is not None else {})

    def plan(self, length: int, **made_by: str | int | float | bool) -> Plan:
        """The plan of one row that keeps a beginning, and skips the blocks that it leaves out."""
        grounds, rules = self.grounds, list[Rule]()
        blocks = {grounds.sites[place] for place in grounds.block_of if place >= 0}
        for path, units in self.kept(length).items():
            if units and path not in blocks:
                rules.append(Rule("0", path, Keep(units)))
            elif not units and path in blocks:
                rules.append(Rule("0", path, Skip()))
        return Plan(1, tuple(rules), host=grounds.outline.shape_hash, made_by={"planner": "factory", **made_by})


def refuse_share(share: float, lowest: float, highest: float) -> None:
    """Raise `FitError` for a share of MACs that was never trained for."""
    if not lowest <= share <= highest:
        raise FitError(f"{share:.1%} of the MACs was not trained for: from {lowest:.1%} to {highest:.0%} was.")
