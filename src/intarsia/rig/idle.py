"""Whole blocks in which nothing is computed are not entered, and units that never wait are not watched.

A site's question, run or recall, costs microseconds; asked of every unit in every call it would cost more than
the plans of small models save. So blocks are asked first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..plan import Table
from ..plan.liveness import Flow
from . import answering
from .answering import Row, touched_sites
from .contract import Host


@dataclass(frozen=True)
class Watch:
    """What of a host is asked at each call.

    Attributes:
        blocks: Blocks that are idle in some row, and the units whose answers each hands on.
        sites: The units and subunits that some row keeps from running while their block is entered, or remembers.
        idle: For each row, its idle blocks.
    """

    blocks: Mapping[str, tuple[str, ...]]
    sites: tuple[str, ...]
    idle: tuple[frozenset[str], ...]


def watch_of(table: Table, host: Host) -> Watch:
    """Settle what has to be asked under a plan."""
    outline = table.outline
    own = [row for row, name in enumerate(table.answering) if name is None and not table.told[row]]
    hands_on = {block.path: host.hands_on(block.path) for block in outline.of_level("block")}
    first = table.flows[own[0]].computed if own else frozenset()
    # The dead have the shapes of values computed before, so a block must have been entered once.
    blocks = {path: units for path, units in hands_on.items() if first.issuperset(units)}
    by_kind = {
        kind: frozenset(
            path for path in blocks if is_idle(table.flows[kind], outline.by_path[path].parts, blocks[path])
        )
        for kind in set(table.kinds)
    }
    idle = tuple(by_kind[kind] for kind in table.kinds)
    waiting: set[str] = {path for kept in table.kept for path in kept}
    for row in own:
        entered = set(touched_sites(table)) - {part for path in idle[row] for part in inside(table, path)}
        waiting |= entered - table.flows[row].running
    sites = tuple(path for path in touched_sites(table) if path in waiting)
    ever = frozenset().union(*(idle[row] for row in own)) if own else frozenset()
    return Watch({path: units for path, units in blocks.items() if path in ever}, sites, idle)


def inside(table: Table, block: str) -> Sequence[str]:
    """The units and subunits of a block."""
    units = table.outline.by_path[block].parts
    return [*units, *(part for unit in units for part in table.outline.by_path[unit].parts)]


def is_idle(settled: Flow, units: Sequence[str], hands_on: Sequence[str]) -> bool:
    """Whether a block need not be entered: all of it is dead, or its one answer comes from memory as it is.

    Blocks that hand on several answers are entered if any is told: an adapter may add to them inside.
    """
    if not settled.computed.isdisjoint(units) or not settled.passed.isdisjoint(units):
        return False
    recalled = [path for path in units if path in settled.recalled]
    if not recalled:
        return True
    return len(hands_on) == 1 and recalled == list(hands_on) and settled.recalled[recalled[0]].carry == "output"


def block_answer(
    row: Row, host: Host, idle: bool, path: str, units: Sequence[str], forward: Any, args: Any, kwargs: Any
) -> Any:
    """What a block hands on."""
    if idle and row.settled is not None:
        like = args[0] if args else kwargs["hidden_states"]
        return host.packed(path, [told_or_dead(row, unit, like) for unit in units])
    output = forward(*args, **kwargs)
    for unit, value in zip(units, host.unpacked(path, output), strict=True):
        row.shapes[unit] = value.shape
    return output


def told_or_dead(row: Row, path: str, like: Tensor) -> Tensor:
    """A unit's answer where nothing is computed."""
    if row.settled is None or path not in row.settled.recalled:
        return answering.placeholder(row.shapes[path], like)
    told = row.recall(path)
    return told.clone() if row.guarded else told
