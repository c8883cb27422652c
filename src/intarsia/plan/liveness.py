"""What really has to be computed in one row.

Units form a graph by whom they read. Starting at the host's output and going backwards, a unit that answers
from memory is not entered: whatever fed only it is dead and is never computed (a-sdm digest, section 3.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .actions import Action, Reuse, Skip
from .outline import Outline


@dataclass(frozen=True)
class Flow:
    """One row, settled.

    Attributes:
        computed: Units that run (their own part of the work; subunits are listed apart).
        recalled: Units and subunits answered from memory because somebody live reads them.
        passed: Units and subunits skipped that somebody live reads.
        subunits: Subunits that run.
    """

    computed: frozenset[str]
    recalled: frozenset[str]
    passed: frozenset[str]
    subunits: frozenset[str]

    @property
    def running(self) -> frozenset[str]:
        return self.computed | self.subunits


def flow(outline: Outline, cells: Mapping[str, Action]) -> Flow:
    """Settle one row: which sites run, which answer from memory, which are dead."""
    reused: set[str] = set()
    closed: set[str] = set()
    skipped: set[str] = set()
    for path, action in cells.items():
        site = outline.by_path[path]
        units = (path,) if site.level in ("unit", "subunit") else site.parts
        if isinstance(action, Reuse):
            reused.update(units if site.level in ("unit", "subunit") else outline.leaving(units))
            closed.update(units)
        elif isinstance(action, Skip):
            skipped.update(units)

    computed: set[str] = set()
    recalled: set[str] = set()
    passed: set[str] = set()
    stack, seen = [outline.root], {outline.root}
    while stack:
        path = stack.pop()
        if path in reused:
            recalled.add(path)
            continue
        if path in skipped and path not in closed:
            passed.add(path)
        else:
            computed.add(path)
        for source in outline.by_path[path].reads:
            if source not in seen:
                seen.add(source)
                stack.append(source)

    subunits = {part for path in computed for part in outline.by_path[path].parts}
    recalled |= subunits & reused
    passed |= subunits & skipped - reused
    return Flow(frozenset(computed), frozenset(recalled), frozenset(passed), frozenset(subunits - reused - skipped))
