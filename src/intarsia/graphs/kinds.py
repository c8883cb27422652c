"""The kinds of rows of a plan: rows whose sites run, recall and pass alike share one graph.

How far back a told value lies does not matter here: forecasts are made outside, so a plan with fitted weights
for every distance has no more kinds than one that holds.
"""

import json
from dataclasses import dataclass
from functools import cached_property

from ..plan import Table
from ..plan.liveness import Flow, flow


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of row.

    Attributes:
        settled: What runs, is recalled and passes.
        recalled: The sites whose told values come in, in order.
        kept: The sites whose answers go out beside the host's, in order: all that any row of this kind is asked to
            remember but the host's own answer, for some runtimes refuse to hand a value out twice.
    """

    settled: Flow
    recalled: tuple[str, ...]
    kept: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """The same for kinds whose graphs are the same."""
        carries = [(path, action.carry) for path, action in sorted(self.settled.recalled.items())]
        known = [sorted(self.settled.running), sorted(self.settled.passed), carries, self.recalled, self.kept]
        return json.dumps(known)


class Kinds:
    """All kinds of rows of a table, and the one in which the whole host runs."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @cached_property
    def whole(self) -> Kind:
        """Nothing is told: for the row after an input has changed its shape."""
        settled = flow(self.table.outline, {})
        kept = {path for row in self.table.kept for path in row}
        return Kind(settled, (), tuple(sorted(kept & settled.running - {self.table.outline.root})))

    @cached_property
    def of_row(self) -> tuple[Kind | None, ...]:
        """For each row its kind, or None where the host is not entered: another model answers, or memory."""
        groups: dict[tuple, set[str]] = {}
        alike: list[tuple | None] = []
        for row, settled in enumerate(self.table.flows):
            if self.table.answering[row] is not None or self.table.told[row]:
                alike.append(None)
                continue
            carries = tuple(sorted((path, action.carry) for path, action in settled.recalled.items()))
            key = (settled.computed, settled.subunits, carries, settled.passed)
            alike.append(key)
            groups.setdefault(key, set()).update(
                self.table.kept[row].keys() & settled.running - {self.table.outline.root}
            )
        kinds = {
            key: Kind(self.table.flows[alike.index(key)], tuple(path for path, _ in key[2]), tuple(sorted(kept)))
            for key, kept in groups.items()
        }
        return tuple(None if key is None else kinds[key] for key in alike)
